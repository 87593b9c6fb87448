import copy
import warnings

import lightning as L
import pytest
import torch

from pcfrl_lightning import PCFRL, functional, load_encoder
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.heads import (
    CalibratedContrast,
    DelayedStart,
    Eq7,
    LossWeight,
    MirroredNegatives,
    NoCalibration,
    NPAThreshold,
)
from pcfrl_lightning.methods.orthogonality import CrossCovariance
from pcfrl_lightning.methods.pcfrl import VIEW_ORDER
from pcfrl_lightning.networks import FaceBackbone
from tiny import TinyFaces, summands, tiny_model, trainer


def random_batch(images: int = 6, size: int = 32) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {name: torch.rand(images, 3, size, size, generator=generator) for name in VIEW_ORDER}


def test_total_loss_equals_the_parts_computed_one_view_at_a_time():
    """Eq. 8 with separate passes for every view and every decoding, in evaluation mode (no batch statistics)."""
    model, batch = tiny_model().eval(), random_batch()
    pdd, face, pose = summands(model, batch)
    features = {name: model.network.encode(views) for name, views in batch.items()}
    (_, f_f, f_p), (_, f_f_hat, f_p_hat) = features["source"], features["target"]
    decode = model.network.reconstruct
    s, s_hat = batch["source"], batch["target"]
    expected = (
        (s - decode(f_f, f_p)).abs().mean()
        + (s_hat - decode(f_f, f_p_hat)).abs().mean()
        + (s - decode(f_f_hat, f_p)).abs().mean()
        + (s_hat - decode(f_f_hat, f_p_hat)).abs().mean()
    )
    for face_features, pose_features in ((f_f, f_p), (f_f_hat, f_p_hat)):
        cosines = torch.nn.functional.cosine_similarity(face_features, pose_features)
        expected = expected + cosines.square().mean()
    torch.testing.assert_close(pdd, expected, atol=1e-5, rtol=1e-5)
    z = [model.network.project_face(features[name].f_f) for name in ("face_1", "face_2")]
    torch.testing.assert_close(face.loss, model.face_contrast(*z).loss, atol=1e-4, rtol=1e-4)
    z = [model.network.project_pose(features[name].f_p) for name in ("pose_1", "pose_2")]
    torch.testing.assert_close(pose.loss, model.pose_contrast(*z).loss, atol=1e-4, rtol=1e-4)


def test_backbone_runs_once_per_step():
    model = tiny_model()
    calls = []
    model.network.backbone.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    model.losses(random_batch(6))
    assert calls == [6 * 6]


def test_every_weight_gets_a_gradient():
    model = tiny_model()
    pdd, face, pose = summands(model, random_batch())
    (pdd + face.loss + face.calibrated_loss + pose.loss + pose.calibrated_loss).backward()
    silent = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    # a bias directly before batch normalisation is cancelled by it
    assert [name for name in silent if not name.endswith("bias")] == []


def with_mirrored_negatives() -> PCFRL:
    negatives = MirroredNegatives()
    return tiny_model(pose_contrast=CalibratedContrast(NoCalibration(), Eq7(), negatives=negatives))


def test_mirrored_views_are_the_negatives_of_the_pose_contrast():
    """The loss of features computed one by one, and gradients that come from the mirrored views alone."""
    model, batch = with_mirrored_negatives().eval(), random_batch(3)
    images = batch["pose_negatives"] = torch.rand(3, 2, 3, 32, 32, requires_grad=True)
    torch.manual_seed(5)
    pose = model.parts(batch).pose
    z = [model.network.project_pose(model.network.encode(batch[name]).f_p) for name in ("pose_1", "pose_2")]
    mirrored = [model.network.project_pose(model.network.encode(group).f_p) for group in images]
    torch.manual_seed(5)
    expected = model.pose_contrast(*z, torch.stack(mirrored)).loss
    torch.testing.assert_close(pose.loss, expected, atol=1e-4, rtol=1e-4)
    (gradient,) = torch.autograd.grad(pose.loss, images)
    assert (gradient.flatten(2).abs().amax(dim=2) > 0).all()


def test_mirrored_negatives_without_mirrored_views():
    with pytest.raises(
        UsageError,
        match=r"pose_contrast.negatives MirroredNegatives needs data.views that mirror",
    ):
        with_mirrored_negatives().parts(random_batch())
    with pytest.raises(ValueError, match=r"face_contrast.negatives cannot be MirroredNegatives"):
        tiny_model(face_contrast=CalibratedContrast(NoCalibration(), Eq7(), negatives=MirroredNegatives()))


def test_mirrored_views_cost_nothing_where_no_loss_uses_them():
    model, calls = tiny_model(), []
    model.network.backbone.register_forward_hook(lambda module, inputs, output: calls.append(len(inputs[0])))
    model.losses(random_batch(4) | {"pose_negatives": torch.rand(4, 2, 3, 32, 32)})
    assert calls == [24]


class KeepBatches(L.Callback):
    def __init__(self):
        self.batches = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.batches.append(copy.deepcopy(batch))


class PlainDescent(PCFRL):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


def test_accumulated_gradients_are_those_of_batches_with_their_own_negatives(tmp_path):
    model, kept = tiny_model(PlainDescent), KeepBatches()
    start = copy.deepcopy(model)
    runner = trainer(tmp_path, max_epochs=1, accumulate_grad_batches=2, callbacks=[kept])
    runner.fit(model, TinyFaces(16, batch_size=8))
    assert runner.global_step == 1
    first, second = kept.batches
    for batch in (first, second):
        pdd, face, pose = summands(start, batch)
        total = pdd + face.loss + face.calibrated_loss + pose.loss + pose.calibrated_loss  # DWA begins at 1
        (total / 2).backward()
    for name, weight in start.named_parameters():
        moved = weight.detach() - 1e-3 * weight.grad
        torch.testing.assert_close(model.get_parameter(name).detach(), moved, atol=1e-6, rtol=1e-5, msg=name)


def test_task_weights_scale_the_contrastive_losses(tmp_path):
    """alpha_face multiplies the face contrast and nothing else (Eq. 8)."""
    model, batch = tiny_model(), random_batch()
    state = copy.deepcopy(model.state_dict())
    totals = []
    for alpha in (1.0, 3.0):
        model.load_state_dict(state)
        model.task_weights.weights[0] = alpha
        totals.append(model.losses(batch)[0])
    model.load_state_dict(state)
    face = model.parts(batch).face
    torch.testing.assert_close(totals[1] - totals[0], 2 * (face.loss + face.calibrated_loss), atol=1e-3, rtol=1e-4)


class Recording(PCFRL):
    """Keeps the epoch means."""

    def end_epoch(self, means):
        self.epochs = [*getattr(self, "epochs", []), means]
        super().end_epoch(means)


class StopAfter(L.Callback):
    def __init__(self, epochs):
        self.epochs = epochs

    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


@pytest.mark.parametrize("num_workers", [0, 1])
def test_resume_is_exact(tmp_path, num_workers):
    """Four epochs equal two, an interruption, and two more: same weights, same task weights."""

    def fit(folder, stop, resume=None):
        model = tiny_model(input_noise=0.1)
        checkpoints = L.pytorch.callbacks.ModelCheckpoint(folder, filename="last", enable_version_counter=False)
        run = trainer(folder, max_epochs=4, callbacks=[StopAfter(stop), checkpoints], enable_checkpointing=True)
        run.fit(model, TinyFaces(batch_size=4, num_workers=num_workers), ckpt_path=resume)
        return model

    whole = fit(tmp_path / "whole", 4)
    fit(tmp_path / "part", 2)
    torch.manual_seed(12345)  # a new process has another random state
    resumed = fit(tmp_path / "part", 4, tmp_path / "part" / "last.ckpt")
    assert not torch.equal(whole.task_weights.weights, torch.ones(2))  # DWA has begun to act
    for (name, expected), actual in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(expected, actual), name


def test_calibration_starts_at_its_epoch_before_and_after_a_resume(tmp_path):
    """NPA with a threshold below every score: no pair in epochs 0 and 1, every anchor from epoch 2 on."""

    def fit(epochs, resume=None):
        delayed = CalibratedContrast(DelayedStart(NPAThreshold(-99.0), start_epoch=2), Eq7())
        model = tiny_model(cls=Recording, face_contrast=delayed)
        run = trainer(tmp_path, max_epochs=epochs)
        run.fit(model, TinyFaces(batch_size=4), ckpt_path=resume)
        run.save_checkpoint(tmp_path / "x.ckpt")
        return [means["face/calibrated"].item() for means in model.epochs]

    with pytest.warns(UserWarning, match="calibration starts after 2 epochs, and this run ends after 1: no pair"):
        assert fit(1) == [0]
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "calibration starts")
        assert fit(4, tmp_path / "x.ckpt") == [0, 8, 8]
    loaded = PCFRL.load_from_checkpoint(tmp_path / "x.ckpt")
    assert loaded.face_contrast.calibrator.start_epoch == 2
    assert loaded.face_contrast.calibrator.calibrator.threshold == -99.0


def test_a_diverged_epoch_keeps_the_checkpoint_before(tmp_path):
    """NaN weights in epoch 1: one error with the fix, and the checkpoint of epoch 0 as it was."""

    class Break(L.Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                torch.nn.init.constant_(pl_module.network.backbone.stem[0][0].weight, torch.nan)

    checkpoints = L.pytorch.callbacks.ModelCheckpoint(tmp_path, filename="last", enable_version_counter=False)
    run = trainer(tmp_path, max_epochs=3, callbacks=[Break(), checkpoints], enable_checkpointing=True)
    with pytest.raises(UsageError, match=r"not finite in 100.000% of the steps of epoch 1: lower optimizer\.lr"):
        run.fit(tiny_model(), TinyFaces(batch_size=4))
    kept = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert kept["epoch"] == 0
    assert all(value.isfinite().all() for value in kept["state_dict"].values())


def test_checkpoint_path_alone_is_enough(tmp_path):
    model = tiny_model(
        orthogonality=CrossCovariance(), pose_contrast=CalibratedContrast(NoCalibration(), LossWeight(0.5))
    )
    run = trainer(tmp_path, max_epochs=1, limit_train_batches=1)
    run.fit(model, TinyFaces(batch_size=4))
    run.save_checkpoint(tmp_path / "x.ckpt")
    loaded = PCFRL.load_from_checkpoint(tmp_path / "x.ckpt")
    assert isinstance(loaded.orthogonality, CrossCovariance)
    assert loaded.pose_contrast.pair_term.beta == 0.5
    images = torch.rand(2, 3, 32, 32)
    network = load_encoder(tmp_path / "x.ckpt")
    expected = model.eval()(images)
    torch.testing.assert_close(network.encode(images).f_s, expected)
    torch.testing.assert_close(loaded.eval()(images), expected)


def test_paper_defaults():
    model = PCFRL()
    for head, beta in ((model.face_contrast, 1), (model.pose_contrast, 0.2)):
        late, npa = head.calibrator, head.calibrator.calibrator
        assert (head.temperature, npa.alpha, npa.threshold, head.pair_term.beta) == (0.07, 10, 1, beta)
        assert (late.start_epoch, head.calibrated_mean) == (6, "anchors")
    assert sum(parameter.numel() for parameter in model.network.parameters()) == 17_262_723


def test_bf16_autocast_keeps_losses_in_float32():
    with torch.autocast("cpu", torch.bfloat16):
        pdd, face, pose = summands(tiny_model(), random_batch())
    for value in (pdd, face.loss, face.calibrated_loss, pose.loss, pose.calibrated_loss):
        assert value.dtype == torch.float32
        assert value.isfinite()


def test_logged_names(tmp_path):
    run = trainer(tmp_path, max_epochs=1, limit_train_batches=2)
    run.fit(tiny_model(), TinyFaces(batch_size=4))
    logged = run.callback_metrics
    for head in ("face", "pose"):
        for name in ("loss", "calibrated_loss", "calibrated", "alignment_mean", "alignment_max", "threshold"):
            assert f"train/{head}/{name}_epoch" in logged
        for name in ("positive_cosine", "negative_cosine", "feature_std"):
            assert f"train/{head}/{name}_epoch" in logged
    for name in ("loss", "reconstruction", "orthogonality", "alpha_face", "alpha_pose"):
        assert {f"train/{name}_step", f"train/{name}_epoch"} <= set(logged)
    tasks = [f"{head}/{name}" for head in ("face", "pose") for name in ("loss", "calibrated_loss")]
    for kind in ("step", "epoch"):  # of the first epoch, whose task weights are 1
        summands = ["reconstruction", "orthogonality", *tasks]
        total = sum(logged[f"train/{name}_{kind}"] for name in summands)
        torch.testing.assert_close(logged[f"train/loss_{kind}"], total, atol=1e-4, rtol=1e-5)


def test_noise_is_added_to_both_inputs_of_pdd_and_to_nothing_else():
    model, batch, seen = tiny_model(input_noise=0.3), random_batch(4), []
    clean = {name: views.clone() for name, views in batch.items()}
    model.network.backbone.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    torch.manual_seed(0)
    model.encode_views(batch)
    for name, views in zip(VIEW_ORDER, seen[0].chunk(6), strict=True):
        noise = views - clean[name]
        assert noise.std().item() == pytest.approx(0.3 if name in ("source", "target") else 0.0, abs=0.01)
        assert torch.equal(batch[name], clean[name])  # the targets of Eq. 1 stay clean
    assert not torch.equal(*(seen[0].chunk(6)[place] - clean[VIEW_ORDER[place]] for place in (2, 3)))


def test_one_contrast_sets_both_heads_and_each_can_be_replaced():
    contrast, other = CalibratedContrast(NoCalibration(), Eq7(0.7), 0.2), CalibratedContrast(NoCalibration(), Eq7(3.0))
    both = PCFRL(FaceBackbone(0.0625), contrast, image_size=32)
    assert both.face_contrast is not both.pose_contrast
    assert [head.temperature for head in (both.face_contrast, both.pose_contrast)] == [0.2, 0.2]
    assert [head.pair_term.beta for head in (both.face_contrast, both.pose_contrast)] == [0.7, 0.7]
    with_pose_beta = PCFRL(FaceBackbone(0.0625), contrast, 0.1, image_size=32)
    assert [head.pair_term.beta for head in (with_pose_beta.face_contrast, with_pose_beta.pose_contrast)] == [0.7, 0.1]
    pose = PCFRL(FaceBackbone(0.0625), contrast, 0.1, pose_contrast=other, image_size=32)
    assert [head.pair_term.beta for head in (pose.face_contrast, pose.pose_contrast)] == [0.7, 3.0]


def test_negative_noise_is_named():
    with pytest.raises(ValueError, match="input_noise"):
        PCFRL(input_noise=-1)


def test_a_beta_of_zero_is_named():
    with pytest.raises(ValueError, match="pose_beta must be > 0, got 0"):
        PCFRL(pose_beta=0)


def test_dwa_weights_are_those_of_the_epoch_means(tmp_path):
    """The weights after training equal the pure function on the logged epoch means."""
    model = tiny_model(cls=Recording)
    trainer(tmp_path, max_epochs=3).fit(model, TinyFaces(batch_size=4))
    means = [[epoch[f"{h}/loss"] + epoch[f"{h}/calibrated_loss"] for h in ("face", "pose")] for epoch in model.epochs]
    expected = functional.dwa_weights(torch.stack(means[2]), torch.stack(means[1]))
    torch.testing.assert_close(model.task_weights.weights, expected, atol=1e-5, rtol=1e-5)
