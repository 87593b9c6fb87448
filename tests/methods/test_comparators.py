"""MoCo, SimSiam, SwAV, NNCLR and SNCLR: their losses, queues, ranks, checkpoints and what they learn."""

import copy
import math

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn

from ddp import run_on_ranks
from host_syncs import HostSyncs
from pcfrl_lightning import load_encoder
from pcfrl_lightning.functional import sinkhorn_codes
from pcfrl_lightning.heads import (
    CalibratedContrast,
    ContrastOutput,
    CosineOnly,
    Eq7,
    NoCalibration,
    NPAThreshold,
    TopK,
    named_of_both,
)
from pcfrl_lightning.heads.queue import FeatureQueue
from pcfrl_lightning.methods import NNCLR, SNCLR, Method, MoCo, SimSiam, SwAV
from pcfrl_lightning.methods.snclr import soft_neighbour_loss
from pcfrl_lightning.networks import FaceBackbone
from pcfrl_lightning.networks.sync_batch_norm import sync_batch_norm
from tiny import TinyFaces, trainer, unmoved

SMALL = {
    MoCo: {"queue_size": 24, "projection_dim": 16},
    SimSiam: {"projection_dim": 32, "prediction_dim": 8},
    SwAV: {"prototypes": 12, "projection_dim": 16, "hidden_dim": 32},
    NNCLR: {"queue_size": 24, "projection_dim": 16, "hidden_dim": 32, "prediction_dim": 32},
    SNCLR: {"queue_size": 24, "projection_dim": 16, "hidden_dim": 32, "neighbours": 3},
}
CONTRASTIVE = (MoCo, NNCLR, SNCLR)
every_method = pytest.mark.parametrize("cls", SMALL, ids=lambda cls: cls.__name__)
contrastive = pytest.mark.parametrize("cls", CONTRASTIVE, ids=lambda cls: cls.__name__)


def small(cls: type[Method], **arguments) -> Method:
    torch.manual_seed(0)
    sizes = next(SMALL[base] for base in cls.__mro__ if base in SMALL)
    return cls(backbone=FaceBackbone(0.0625), image_size=32, **(sizes | arguments))


def views(images: int = 6, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.rand(images, 3, 32, 32, generator=generator, dtype=dtype) for name in ("face_1", "face_2")}


def unit(rows: torch.Tensor) -> torch.Tensor:
    return nn.functional.normalize(rows, dim=-1)


# in training mode: without batch statistics, an untrained network maps all images nearly to one point


def test_moco_is_the_cross_entropy_of_key_against_queue():
    model, batch = small(MoCo), views()
    query, key = unit(model.network(batch["face_1"])).detach(), unit(model.momentum_network(batch["face_2"]))
    expected = 0.0
    for q, k in zip(query, key, strict=True):
        positive, negatives = math.exp(q @ k / 0.2), [math.exp(q @ row / 0.2) for row in model.queue.rows]
        expected -= math.log(positive / (positive + sum(negatives))) / len(query)
    assert model.losses(batch)[0].item() == pytest.approx(expected, rel=1e-5)


def test_nnclr_is_the_cross_entropy_of_neighbours_against_predictions():
    model, batch = small(NNCLR), views()
    z = [unit(model.network(batch[view])).detach() for view in model.views]
    p = [unit(model.predictor(model.network(batch[view]))).detach() for view in model.views]
    expected = 0.0
    for own, prediction in ((z[0], p[1]), (z[1], p[0])):
        for i, row in enumerate(own):
            cosines = [float(row @ candidate) for candidate in model.queue.rows]
            neighbour = model.queue.rows[cosines.index(max(cosines))]
            logits = [math.exp(neighbour @ other / 0.1) for other in prediction]
            expected -= math.log(logits[i] / sum(logits)) / (2 * len(own))
    assert model.losses(batch)[0].item() == pytest.approx(expected, rel=1e-5)


def test_snclr_is_the_cross_entropy_with_attention_on_the_neighbours_of_the_key():
    model, batch = small(SNCLR), views()
    projections = [model.network(batch[view]).detach() for view in model.views]
    keys = [unit(model.momentum_network(batch[view])) for view in model.views]
    expected = 0.0
    for z, own_keys in ((projections[0], keys[1]), (projections[1], keys[0])):
        groups = []
        for key in own_keys:
            order = sorted(model.queue.rows, key=lambda row, key=key: -float(row @ key))
            groups.append([key, *order[:3]])
        for i, (projection, prediction) in enumerate(zip(unit(z), unit(model.predictor(z)).detach(), strict=True)):
            attention = [math.exp(projection @ row) for row in groups[i][1:]]
            targets = [1.0, *(value / sum(attention) for value in attention)]
            total = sum(math.exp(prediction @ row / 0.2) for group in groups for row in group)
            for target, row in zip(targets, groups[i], strict=True):
                expected -= target * math.log(math.exp(prediction @ row / 0.2) / total) / (2 * len(z))
    assert model.losses(batch)[0].item() == pytest.approx(expected, rel=1e-5)


def test_the_attention_of_snclr_and_every_other_argument_have_a_gradient():
    generator = torch.Generator().manual_seed(2)
    shapes = (3, 4), (3, 4), (3, 4), (3, 2, 4)
    arguments = [torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True) for shape in shapes]
    assert torch.autograd.gradcheck(lambda *rows: soft_neighbour_loss(*rows, 0.5), arguments)


def test_simsiam_is_minus_the_cosine_and_stops_the_gradient_of_the_target():
    model, batch = small(SimSiam).eval(), views()
    z = [model.network(batch[view]) for view in model.views]
    expected = -sum(
        float(unit(model.predictor(own))[i] @ unit(other)[i]) for own, other in (z, z[::-1]) for i in range(6)
    )
    loss, _ = model.losses(batch)
    assert loss.item() == pytest.approx(expected / 12, rel=1e-5)
    first, second = (rows.detach().requires_grad_() for rows in z)
    network, outputs = model.network, iter((first, second))
    model.network = nn.Identity()
    model.network.forward = lambda images: next(outputs)
    model.losses(batch)[0].backward()
    model.network = network
    # the gradient of z is that through its own prediction alone
    own = first.detach().requires_grad_()
    (-nn.functional.cosine_similarity(model.predictor(own), second.detach()).mean() / 2).backward()
    torch.testing.assert_close(first.grad, own.grad)


def test_sinkhorn_codes_use_every_prototype_equally():
    scores = torch.rand(10, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    expected = [[math.exp(value / 0.05) for value in row] for row in scores.tolist()]
    for _ in range(3):
        for column in range(4):
            total = sum(row[column] for row in expected)
            for row in expected:
                row[column] /= total
        expected = [[value / sum(row) for value in row] for row in expected]
    torch.testing.assert_close(sinkhorn_codes(scores), torch.tensor(expected, dtype=torch.float64))
    even = sinkhorn_codes(scores, iterations=500).sum(dim=0)
    torch.testing.assert_close(even, torch.full((4,), 2.5, dtype=torch.float64), atol=1e-3, rtol=0)
    assert sinkhorn_codes(torch.full((3, 2), 50.0)).isfinite().all()
    far = torch.tensor([[1.0, 0.9, -1.0], [0.8, 1.0, -1.0]])  # the last prototype from both, exp(-200) in float32 is 0
    expected = sinkhorn_codes(far.double(), epsilon=0.01).float()
    torch.testing.assert_close(sinkhorn_codes(far, epsilon=0.01), expected, atol=1e-5, rtol=0)


def test_negatives_of_nnclr_have_a_gradient():
    model = small(NNCLR)
    neighbours, predictions = torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    predictions.requires_grad_()
    assert torch.autograd.gradcheck(lambda rows: model.directed(neighbours, rows).loss, predictions)


def test_losses_equal_those_of_lightly():
    loss = pytest.importorskip("lightly.loss", reason="lightly is not installed")
    batch = views()
    model = small(SwAV).eval()
    scores = [unit(model.network(batch[view])) @ model.directions.T for view in model.views]
    expected = loss.SwaVLoss()(scores, []).squeeze()
    torch.testing.assert_close(model.losses(batch)[0], expected, atol=1e-6, rtol=1e-6)
    model = small(SimSiam).eval()
    z = [model.network(batch[view]) for view in model.views]
    criterion = loss.NegativeCosineSimilarity()
    expected = (criterion(model.predictor(z[0]), z[1]) + criterion(model.predictor(z[1]), z[0])) / 2
    torch.testing.assert_close(model.losses(batch)[0], expected, atol=1e-6, rtol=1e-6)
    z = [small(SimSiam).eval().network(batch[view]) for view in ("face_1", "face_2")]
    contrast = CalibratedContrast(NoCalibration(), CosineOnly(), 0.3, "all")
    torch.testing.assert_close(contrast(*z).loss, loss.NTXentLoss(0.3)(*z), atol=1e-6, rtol=1e-6)  # SimCLR
    model = small(MoCo).eval()
    criterion = loss.NTXentLoss(temperature=0.2, memory_bank_size=(24, 16))
    criterion.memory_bank.bank = model.queue.rows.clone()
    criterion.memory_bank.bank_ptr = torch.zeros(1, dtype=torch.long)
    expected = criterion(model.network(batch["face_1"]), model.momentum_network(batch["face_2"]))
    torch.testing.assert_close(model.losses(batch)[0], expected, atol=1e-6, rtol=1e-6)


@contrastive
def test_calibrated_pairs_add_their_loss(cls):
    plain, calibrated = small(cls), small(cls, calibrator=TopK(), pair_term=Eq7(2.0))
    batch = views()
    loss, stats = calibrated.eval().losses(batch)
    assert stats["face/calibrated"] == (6 if cls is MoCo else 12)  # one partner of each query, or of each view
    without, _ = plain.eval().losses(batch)
    assert abs(loss - without) > 1e-3
    loss.backward()
    assert all(weight.grad is not None for weight in calibrated.network.parameters())


@pytest.mark.parametrize("cls", [NNCLR, SNCLR], ids=lambda cls: cls.__name__)
def test_the_statistics_are_of_both_directions(cls):
    """Two views exchanged exchange the directions: nothing in the log may change but by rounding."""
    model, batch = small(cls, calibrator=TopK()).eval(), views()
    _, stats = model.losses(batch)
    _, exchanged = model.losses({"face_1": batch["face_2"], "face_2": batch["face_1"]})
    assert stats.keys() == exchanged.keys()
    for name, value in stats.items():
        torch.testing.assert_close(exchanged[name], value, msg=lambda text, name=name: f"{name}: {text}")


def test_counts_of_two_directions_are_added_and_the_largest_alignment_is_kept():
    shared = dict.fromkeys(("calibrated_share", "positive_cosine"), torch.tensor(0.5))
    outputs = [
        ContrastOutput(
            torch.tensor(loss), torch.tensor(0.0), shared | {"calibrated": count, "alignment_max": best}, None, None
        )
        for loss, count, best in (
            (1.0, torch.tensor(2.0), torch.tensor(0.9)),
            (3.0, torch.tensor(5.0), torch.tensor(0.7)),
        )
    ]
    values = {name: value.item() for name, value in named_of_both(*outputs, "face/").items()}
    assert values["face/loss"] == 2.0
    assert values["face/calibrated"] == 7.0
    assert values["face/alignment_max"] == pytest.approx(0.9)
    assert values["face/calibrated_share"] == 0.5


def test_the_queue_keeps_the_last_rows_and_begins_again_at_its_start():
    queue = FeatureQueue(5, 2)
    rows = unit(torch.tensor([[float(i), 1.0] for i in range(1, 8)]))
    queue.push(rows[:3])
    queue.push(rows[3:6])
    torch.testing.assert_close(queue.rows, rows[[5, 1, 2, 3, 4]])
    queue.push(rows.repeat(2, 1))  # more than it holds: the last five
    assert sorted(queue.rows[:, 0].tolist()) == pytest.approx(sorted(rows[[2, 3, 4, 5, 6]][:, 0].tolist()))
    torch.testing.assert_close(queue.nearest(rows[6:], k=2)[0], rows[[6, 5]])
    with pytest.raises(ValueError, match="queue_size must be at least 1"):
        FeatureQueue(0, 2)


@contrastive
def test_the_queue_takes_unit_rows_of_a_training_step_after_the_step_has_used_it(cls):
    """The keys of the second view; for NNCLR, which has no key network, the projections of the first one."""
    model, batch = small(cls).double(), views(dtype=torch.float64)
    for name, weight in model.named_parameters():
        if name.startswith("momentum_network"):
            weight.add_(0.1 * torch.randn_like(weight))
    before = model.queue.rows.clone()
    model.eval().losses(batch)
    assert torch.equal(model.queue.rows, before)
    without = copy.deepcopy(model).train()
    without.queue.push = lambda features: None
    network, view = (model.network, "face_1") if cls is NNCLR else (model.momentum_network, "face_2")
    expected = unit(copy.deepcopy(network).train()(batch[view]).detach())
    loss, _ = model.train().losses(batch)
    torch.testing.assert_close(model.queue.rows, torch.cat([expected, before[6:]]))
    torch.testing.assert_close(loss, without.losses(batch)[0])


@pytest.mark.parametrize("accumulated", [1, 2])
@pytest.mark.parametrize("cls", [MoCo, SNCLR], ids=lambda cls: cls.__name__)
def test_the_key_network_follows_once_for_each_step_of_the_optimiser(cls, accumulated, tmp_path):
    model = small(cls, momentum=0.9)
    weights = [[w.clone() for w in model.network.parameters()]]

    class Watched(cls):
        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.1)  # a step that no tolerance hides

        def on_before_zero_grad(self, optimizer):
            weights.append([w.detach().clone() for w in self.network.parameters()])

    model.__class__ = Watched
    run = trainer(tmp_path, max_epochs=1, accumulate_grad_batches=accumulated)
    run.fit(model, TinyFaces(images=8 * accumulated, batch_size=4))  # two steps
    assert run.global_step == 2
    start, _, after_one = weights
    for own, first, second in zip(model.momentum_network.parameters(), start, after_one, strict=True):
        torch.testing.assert_close(own, 0.9 * first + 0.1 * second)
        assert not own.requires_grad


@every_method
def test_every_weight_is_trained_and_the_checkpoint_gives_method_and_encoder(cls, tmp_path):
    model = small(cls, **({"freeze_epochs": 0} if cls is SwAV else {}))
    before = {name: value.clone() for name, value in model.named_parameters() if value.requires_grad}
    run = trainer(tmp_path, max_epochs=1)
    run.fit(model, TinyFaces(batch_size=4))
    assert unmoved(model, before) == []
    assert run.callback_metrics["train/face/feature_std_epoch" if cls in CONTRASTIVE else "train/feature_std_epoch"] > 0
    run.save_checkpoint(tmp_path / "x.ckpt")
    loaded = cls.load_from_checkpoint(tmp_path / "x.ckpt")
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(
        load_encoder(tmp_path / "x.ckpt").features(images), model.eval().network.features(images)
    )


@every_method
def test_a_run_resumed_inside_an_epoch_ends_with_the_same_weights_and_queue(cls, tmp_path):
    def fit(folder, resumed=None):
        steps = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
        run = trainer(folder, enable_checkpointing=True, callbacks=[steps], max_epochs=2)
        model = small(cls)
        run.fit(model, TinyFaces(12, batch_size=4), ckpt_path=resumed)
        return model.state_dict()

    whole, resumed = fit(tmp_path / "a"), fit(tmp_path / "b", tmp_path / "a" / "step=4.ckpt")
    assert [name for name, value in whole.items() if not torch.equal(value, resumed[name])] == []


def test_prototypes_are_unit_vectors_that_wait_for_the_first_epoch(tmp_path):
    model = small(SwAV)
    start = model.directions.detach().clone()
    trainer(tmp_path, max_epochs=1).fit(model, TinyFaces(batch_size=4))
    torch.testing.assert_close(model.directions.detach(), start)
    trainer(tmp_path, max_epochs=2).fit(model, TinyFaces(batch_size=4))
    assert not torch.allclose(model.directions.detach(), start)


def test_prototypes_are_unit_vectors_in_every_step(tmp_path):
    class Watched(SwAV):
        def losses(self, batch):
            lengths.append(self.directions.detach().norm(dim=1))
            return super().losses(batch)

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1.0)

    lengths: list[torch.Tensor] = []
    model = small(Watched, freeze_epochs=0)
    trainer(tmp_path, max_epochs=1).fit(model, TinyFaces(images=12, batch_size=4))
    assert (model.directions.norm(dim=1) - 1).abs().max() > 1e-3  # a step leaves the sphere
    for length in lengths:
        torch.testing.assert_close(length, torch.ones(12))


def test_the_number_of_used_prototypes_is_the_perplexity_of_the_codes():
    model, batch = small(SwAV).eval(), views()
    scores = [unit(model.network(batch[view])) @ model.directions.T for view in model.views]
    share = torch.cat([sinkhorn_codes(score) for score in scores]).mean(dim=0).tolist()
    expected = math.exp(-sum(value * math.log(value) for value in share))
    assert model.losses(batch)[1]["prototypes_used"].item() == pytest.approx(expected, rel=1e-4)


@every_method
def test_losses_and_gradients_wait_for_nothing(cls):
    model = small(cls, **({"calibrator": NPAThreshold(0.1)} if cls in CONTRASTIVE else {}))
    with HostSyncs() as syncs:
        model.losses(views())[0].backward()
    assert syncs.found == []


def loss_and_gradients(rank, ranks, cls):
    calibrated = {"calibrator": TopK(), "pair_term": Eq7()} if cls in CONTRASTIVE else {}
    model = small(cls, **calibrated).double()
    if ranks > 1:
        sync_batch_norm(model, "cpu")
    share = {name: rows.tensor_split(ranks)[rank] for name, rows in views(8, torch.float64).items()}
    loss, _ = model.losses(share)
    loss.backward()
    values = [loss.detach(), *(w.grad for w in model.parameters() if w.requires_grad)]
    if ranks > 1:
        for value in values:
            torch.distributed.all_reduce(value)
            value /= ranks
    return values, model.queue.rows if hasattr(model, "queue") else None


def all_methods(rank, ranks):
    return [loss_and_gradients(rank, ranks, cls) for cls in SMALL]


def test_two_ranks_of_half_the_batch_give_loss_gradients_and_queue_of_one_process():
    expected = all_methods(0, 1)
    for found in run_on_ranks(all_methods):
        for cls, (values, queue), (references, rows) in zip(SMALL, found, expected, strict=True):
            for value, reference in zip(values, references, strict=True):
                torch.testing.assert_close(
                    value, reference, atol=1e-6, rtol=1e-5, msg=lambda text, cls=cls: f"{cls.__name__}: {text}"
                )
            if rows is not None:
                torch.testing.assert_close(queue, rows)


def test_what_cannot_work_is_refused():
    with pytest.raises(ValueError, match="momentum must be in"):
        small(MoCo, momentum=1.5)
    with pytest.raises(ValueError, match=r"neighbours must be from 1 to queue_size \(24\), got 25"):
        small(SNCLR, neighbours=25)
    with pytest.raises(ValueError, match="at least 2 prototypes"):
        small(SwAV, prototypes=1)
    with pytest.raises(ValueError, match=r"sinkhorn_iterations >= 1, got .*, 24 and 0$"):
        small(SwAV, prototypes=24, sinkhorn_iterations=0)
    with pytest.raises(ValueError, match=r"prediction_dim must be at least 1, got layers of \[32, 0, 32\]"):
        small(SimSiam, prediction_dim=0)
    assert copy.deepcopy(small(MoCo)).queue.rows.shape == (24, 16)
