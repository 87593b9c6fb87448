"""FaceCycle: its losses against hand cases and loops, its pairs of frames, ranks, checkpoints and what it learns."""

import copy

import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from ddp import run_on_ranks
from host_syncs import HostSyncs
from pcfrl_lightning import load_encoder
from pcfrl_lightning.data import FramePairs
from pcfrl_lightning.functional.warp import backward_flow, structural_similarity, warp
from pcfrl_lightning.methods.facecycle import MARGIN, PIXEL, SYMMETRY, FaceCycle, asymmetry, exchanged
from pcfrl_lightning.networks import FaceBackbone
from pcfrl_lightning.networks.sync_batch_norm import sync_batch_norm
from pcfrl_lightning.synthetic import SyntheticFaces
from tiny import TinyFaces, trainer, unmoved


class Pairs(TinyFaces):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.views = FramePairs(32)


def small(**arguments) -> FaceCycle:
    torch.manual_seed(0)
    return FaceCycle(FaceBackbone(0.0625), image_size=32, code_dim=8, generator_width=8, **arguments)


def frames(pairs: int = 3, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.rand(pairs, 3, 32, 32, generator=generator, dtype=dtype) for name in FaceCycle.views}


def l1(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first - second).detach().abs().mean())


def lacks(first: torch.Tensor, second: torch.Tensor) -> float:
    return 5.0 * (1 - float(structural_similarity(first, second).detach()))


def test_the_motion_cycle_is_that_of_each_frame_with_the_neutral_face_of_its_partner():
    """Written out frame by frame: sums of means are means of sums, as all frames have one size."""
    model, batch = small().double().eval(), frames(dtype=torch.float64)
    network, pairs = model.network, zip(batch["frame_1"], batch["frame_2"], strict=True)
    expected = 0.0
    for pair in ((one.unsqueeze(0), two.unsqueeze(0)) for one, two in pairs):
        flow = [network.flow(network.motion_code(network.backbone(frame))) for frame in pair]
        back = [backward_flow(each) for each in flow]
        neutral = [network.generator(frame, each) for frame, each in zip(pair, flow, strict=True)]
        moved = [warp(frame, each) for frame, each in zip(pair, flow, strict=True)]
        for own, other in ((0, 1), (1, 0)):
            frame = pair[own]
            rebuilt, same = network.generator(neutral[other], back[own]), network.generator(frame)
            direct, carried = warp(moved[other], back[own]), warp(neutral[other], back[own])
            pixels = l1(rebuilt, frame) + l1(same, frame) + 1.5 * l1(direct, frame) + l1(carried, frame)
            shapes = lacks(rebuilt, frame) + lacks(same, frame) + 1.5 * lacks(direct, frame)
            mirrored = l1(neutral[own], neutral[own].flip(3)) + 0.5 * l1(moved[own], moved[own].flip(3))
            expected += (PIXEL * pixels + shapes + SYMMETRY * mirrored) / 6
    images = torch.cat([batch["frame_1"], batch["frame_2"]])
    assert model.motion_cycle(images)[0].loss.item() == pytest.approx(expected, rel=1e-9)


def test_the_identity_cycle_goes_through_the_mean_face_of_all_people():
    model, batch = small().double().eval(), frames(dtype=torch.float64)
    network, images = model.network, torch.cat([batch["frame_1"], batch["frame_2"]])
    motion, _ = model.motion_cycle(images)
    codes = [network.identity_code(network.identity_backbone(frame.unsqueeze(0))) for frame in images]
    bare = [
        network.renormalizer.de_identify(face[None], code) for face, code in zip(motion.neutral, codes, strict=True)
    ]
    mean, expected = torch.stack(bare).mean(0), 0.0
    for frame, neutral, back, code in zip(images, motion.neutral, motion.back, codes, strict=True):
        restored = network.renormalizer.re_identify(mean, code)
        rebuilt, carried = network.generator(restored, back[None]), warp(restored, back[None])
        far = float(((mean - neutral).abs() - MARGIN).clamp(min=0).detach().mean())
        pixels = l1(rebuilt, frame[None]) + 0.8 * l1(carried, frame[None]) + l1(restored, neutral[None]) + far
        shapes = lacks(rebuilt, frame[None]) + 0.8 * lacks(carried, frame[None])
        expected += (PIXEL * pixels + shapes + SYMMETRY * l1(restored, restored.flip(3))) / 6
    assert model.identity_cycle(images, motion).item() == pytest.approx(expected, rel=1e-9)


def test_identity_gives_no_gradient_to_the_motion():
    model, batch = small(), frames()
    images = torch.cat([batch["frame_1"], batch["frame_2"]])
    motion, _ = model.motion_cycle(images)
    model.identity_cycle(images, motion).backward()
    trained = {name.split(".")[1] for name, weight in model.named_parameters() if weight.grad is not None}
    assert trained == {"identity_backbone", "identity_code", "renormalizer"}


def test_small_pieces():
    rows = torch.arange(6.0)
    assert exchanged(rows).tolist() == [3, 4, 5, 0, 1, 2]
    face = torch.tensor([[[[0.0, 0.2, 0.6, 1.0]]]])
    assert asymmetry(face).item() == pytest.approx((1.0 + 0.4) * 2 / 4)
    assert asymmetry(face + face.flip(3)).item() == 0


def test_a_pair_is_two_pictures_of_a_person_or_a_picture_and_its_mirror_image():
    data = SyntheticFaces(image_size=32, train_size=12, identities=3, val_size=20, val_identities=20, whole_person=True)
    source = data.build()["train"].source
    rng = np.random.default_rng(0)
    people = [[source.read(index) for index in range(person, 12, 3)] for person in range(3)]
    drawn = [source.draw(1, rng) for _ in range(40)]
    found = [sum(np.array_equal(image, other) for image in drawn) for other in people[1]]
    assert sum(found) == 40
    assert min(found) > 0
    still = FramePairs(32, mirror_p=0.0, crop_scale=(1.0, 1.0))
    still.appearance, still.flip_p, still.crop_ratio = lambda image, uniform: image, 0.0, (1.0, 1.0)
    pair = still.sample_item(people[0][:2], rng, 0)
    np.testing.assert_array_equal(pair["frame_1"], people[0][0])
    np.testing.assert_array_equal(pair["frame_2"], people[0][1])
    mirrored = FramePairs(32, mirror_p=1.0).sample_item(people[0][:2], rng, 0)
    np.testing.assert_array_equal(mirrored["frame_2"], mirrored["frame_1"][:, ::-1])
    with pytest.raises(ValueError, match="mirror_p must be in"):
        FramePairs(mirror_p=1.5)


def test_every_weight_is_trained_and_the_checkpoint_gives_method_and_encoder(tmp_path):
    model = small()
    before = {name: value.clone() for name, value in model.named_parameters()}
    run = trainer(tmp_path, max_epochs=1)
    run.fit(model, Pairs(batch_size=4))
    assert unmoved(model, before) == []
    assert {"train/motion_epoch", "train/identity_epoch", "train/movement_epoch"} <= run.callback_metrics.keys()
    run.save_checkpoint(tmp_path / "x.ckpt")
    loaded = FaceCycle.load_from_checkpoint(tmp_path / "x.ckpt")
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    images = torch.rand(2, 3, 48, 48)  # the features take other sizes than the codes
    found = load_encoder(tmp_path / "x.ckpt").features(images)
    assert found.keys() == {"f_s", "f_id"}
    torch.testing.assert_close(found, model.eval().network.features(images))


def test_a_run_resumed_inside_an_epoch_ends_with_the_same_weights(tmp_path):
    def fit(folder, resumed=None):
        steps = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
        run = trainer(folder, enable_checkpointing=True, callbacks=[steps], max_epochs=2)
        model = small()
        run.fit(model, Pairs(12, batch_size=4), ckpt_path=resumed)
        return model.state_dict()

    whole, resumed = fit(tmp_path / "a"), fit(tmp_path / "b", tmp_path / "a" / "step=4.ckpt")
    assert [name for name, value in whole.items() if not torch.equal(value, resumed[name])] == []


def test_losses_and_gradients_wait_for_nothing():
    model, batch = small(), frames()
    with HostSyncs() as syncs:
        model.losses(batch)[0].backward()
    assert syncs.found == []


def loss_and_gradients(rank, ranks):
    model = small().double()
    if ranks > 1:
        sync_batch_norm(model, "cpu")
    share = {name: rows.tensor_split(ranks)[rank] for name, rows in frames(4, torch.float64).items()}
    loss, _ = model.losses(share)
    loss.backward()
    values = [loss.detach(), *(weight.grad for weight in model.parameters())]
    if ranks > 1:
        for value in values:
            torch.distributed.all_reduce(value)
            value /= ranks
    return values


def test_two_ranks_of_half_the_batch_give_loss_and_gradients_of_one_process():
    for found in run_on_ranks(loss_and_gradients):
        for value, expected in zip(found, loss_and_gradients(0, 1), strict=True):
            torch.testing.assert_close(value, expected, atol=1e-9, rtol=1e-7)


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match="image_size >= 16, got 8, 8 and 8"):
        FaceCycle(FaceBackbone(0.0625), image_size=8, code_dim=8, generator_width=8)
    assert copy.deepcopy(small()).network.code_dim == 8
