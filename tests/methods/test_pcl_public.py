"""The three optimiser steps of the public PCL code."""

import copy
import csv

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import ReduceLROnPlateau
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy

from host_syncs import HostSyncs
from pcfrl_lightning import PCFRL
from pcfrl_lightning.callbacks import LearningRates, Throughput
from pcfrl_lightning.data import PCLViews
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.heads import (
    AllNegatives,
    CalibratedContrast,
    CosineOnly,
    MirroredNegatives,
    MixedNegatives,
    NoCalibration,
)
from pcfrl_lightning.methods.orthogonality import CrossCovariance
from pcfrl_lightning.methods.pcl_public import PCLThreeSteps, regrouped
from pcfrl_lightning.networks import FaceBackbone
from tiny import TinyFaces, trainer


def public(cls: type[PCFRL] = PCLThreeSteps, plain_face: bool = False, **arguments) -> PCFRL:
    torch.manual_seed(0)
    parts = NoCalibration(), CosineOnly()
    return cls(
        FaceBackbone(0.0625),
        face_contrast=CalibratedContrast(*parts, 0.07, "all", AllNegatives() if plain_face else MixedNegatives()),
        pose_contrast=CalibratedContrast(*parts, 0.07, "all", MirroredNegatives()),
        orthogonality=CrossCovariance(),
        image_size=32,
        projection_dim=16,
        **arguments,
    )


def batch(images: int = 6, mirrored: int = 3, copies: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    found = {name: torch.rand(images, 3, 32, 32, generator=generator) for name in PCFRL.views}
    return found | {"pose_negatives": torch.rand(mirrored, copies, 3, 32, 32, generator=generator)}


class Faces(TinyFaces):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.views = PCLViews(32, pose_negatives=3, pose_images=2)


def test_mirrored_views_are_stacked_copy_by_copy_and_cut_into_groups():
    copies = torch.tensor([[[0.0], [1.0], [2.0]], [[10.0], [11.0], [12.0]]])  # image 0, image 1; three copies each
    assert regrouped(copies).squeeze(2).tolist() == [[0.0, 10.0, 1.0], [11.0, 2.0, 12.0]]


def test_views_give_the_first_images_of_a_batch_their_mirrored_views():
    data = Faces(8, batch_size=4)
    data.setup("fit")
    found = next(iter(data.train_dataloader()))
    assert found["pose_negatives"].shape == (2, 3, 3, 32, 32)
    assert found["face_1"].shape == found["pose_1"].shape == (4, 3, 32, 32)
    with pytest.raises(ValueError, match="pose_images must be at least 1"):
        PCLViews(32, pose_images=0)


def test_each_task_has_the_loss_of_the_one_step_form():
    """All images have mirrored views here; one each, which regrouping leaves as they are."""
    one, three = public(PCFRL), public()
    views = batch(mirrored=6, copies=1)
    torch.manual_seed(3)
    parts = one.eval().parts(views)
    torch.manual_seed(3)
    three.eval()
    found = three.disentangling(views), three.face_task(views), three.pose_task(views)
    expected = parts.reconstruction + parts.orthogonality, parts.face.loss, parts.pose.loss
    for task, value in zip(found, expected, strict=True):
        torch.testing.assert_close(task.raw, value)


def test_the_pose_task_contrasts_the_images_with_mirrored_views_alone():
    model, views = public().eval(), batch()
    few = {name: value[:3] for name, value in views.items()}
    torch.manual_seed(3)
    expected = model.pose_task(few).raw
    torch.manual_seed(3)
    torch.testing.assert_close(model.pose_task(views).raw, expected)


class InDouble(PCLThreeSteps):
    """Plain descent in float64, so that what differs between runs is no rounding."""

    rate = 1e-5

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.rate)

    def step(self, batch):
        return super().step({name: each.double() if each.is_floating_point() else each for name, each in batch.items()})


class Recording(InDouble):
    """Keeps the batch, and the random state before it, so that the steps can be repeated by hand."""

    rate = 0.01

    def disentangling(self, batch):
        self.seen, self.random = copy.deepcopy(batch), torch.get_rng_state()
        return super().disentangling(batch)


def test_a_batch_is_three_steps_each_with_the_gradient_of_its_task(tmp_path):
    model = public(Recording).double()
    by_hand = copy.deepcopy(model).to(memory_format=torch.channels_last)  # as in training
    run = trainer(tmp_path, max_epochs=1)
    run.fit(model, Faces(4, batch_size=4))
    assert run.global_step == 3
    torch.set_rng_state(model.random)
    start = [weight.detach().clone() for weight in by_hand.parameters()]
    for name in ("disentangling", "face_task", "pose_task"):
        by_hand.zero_grad()
        getattr(by_hand.train(), name)(model.seen).loss.backward()
        with torch.no_grad():
            for weight in by_hand.parameters():
                if weight.grad is not None:
                    weight -= 0.01 * weight.grad
    for (name, weight), expected in zip(model.named_parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(
            weight, expected, atol=1e-12, rtol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )
    moved = [(weight - before).abs().max() for weight, before in zip(model.parameters(), start, strict=True)]
    assert torch.stack(moved).median() > 1e-3  # far above the tolerance


def test_a_step_leaves_weights_of_other_tasks_alone(tmp_path):
    """Adam with weight decay would move every weight that has a gradient of 0."""
    moved = []

    class Watched(PCLThreeSteps):
        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=0.01, weight_decay=1e-3)

        def step(self, batch):
            before = {name: value.detach().clone() for name, value in self.named_parameters()}
            optimizer, plain = self.optimizers(), type(self.optimizers()).step

            def step(own, **kwargs):
                plain(own, **kwargs)
                changed = [n for n, value in self.named_parameters() if not torch.equal(value, before[n])]
                moved.append({name.split(".")[1] for name in changed})
                before.update({name: value.detach().clone() for name, value in self.named_parameters()})

            type(optimizer).step = step
            try:
                return super().step(batch)
            finally:
                type(optimizer).step = plain

    trainer(tmp_path, max_epochs=1).fit(public(Watched), Faces(4, batch_size=4))
    assert moved == [
        {"backbone", "face_subnet", "pose_subnet", "decoder"},
        {"backbone", "face_subnet", "face_projector"},
        {"backbone", "pose_subnet", "pose_projector"},
    ]


def test_a_resumed_run_ends_as_the_whole_one_and_the_rate_falls_by_epoch(tmp_path):
    class Cosine(PCLThreeSteps):
        def configure_optimizers(self):
            optimizer = torch.optim.Adam(self.parameters(), lr=1e-2)
            return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 2)]

    def fit(folder, resumed=None):
        kept = ModelCheckpoint(folder, "{step}", every_n_train_steps=3, save_top_k=-1)
        run = trainer(folder, enable_checkpointing=True, callbacks=[kept], max_epochs=2)
        model = public(Cosine, input_noise=0.4)
        run.fit(model, Faces(8, batch_size=4), ckpt_path=resumed)
        return model.state_dict(), run.optimizers[0].param_groups[0]["lr"]

    (whole, rate), (again, _) = fit(tmp_path / "a"), fit(tmp_path / "b", tmp_path / "a" / "step=9.ckpt")
    assert [name for name, value in whole.items() if not torch.equal(value, again[name])] == []
    assert rate == pytest.approx(0.0, abs=1e-9)


class OnPlateau(PCLThreeSteps):
    monitor = "train/face/loss_epoch"

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=1e-2)
        plain = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, threshold=1e9, patience=0)
        told = ReduceLROnPlateau(optimizer, self.monitor, threshold=1e9, patience=0)
        return [optimizer], [plain, told]


def test_a_rate_that_falls_on_a_plateau_is_told_the_metric(tmp_path):
    run, model = trainer(tmp_path, max_epochs=2), public(OnPlateau)
    run.fit(model, Faces(8, batch_size=4))
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(1e-6)  # a tenth by each in each epoch
    assert model.lr_schedulers()[1].best > 0
    model = public(OnPlateau)
    model.monitor = "train/lost_epoch"
    with pytest.raises(UsageError, match=r"train/lost_epoch is not in the log; did you mean train/loss_epoch\?"):
        trainer(tmp_path, max_epochs=1).fit(model, Faces(8, batch_size=4))


def test_the_speed_and_the_rate_are_logged_when_the_losses_are(tmp_path):
    run = trainer(
        tmp_path, max_epochs=1, log_every_n_steps=3, logger=CSVLogger(tmp_path, "", ""),
        callbacks=[Throughput(), LearningRates()],
    )  # fmt: skip
    run.fit(public(), Faces(24, batch_size=4))
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    for name in ("train/loss_step", "train/images_per_second_step", "lr-Adam"):
        assert [row["step"] for row in rows if row.get(name)] == ["2", "5"]


def test_losses_are_logged_and_wait_for_nothing(tmp_path):
    run = trainer(tmp_path, max_epochs=1)
    run.fit(public(), Faces(8, batch_size=4))
    names = "loss", "reconstruction", "face/loss", "pose/loss", "alpha_face"
    assert {f"train/{name}_{when}" for name in names for when in ("step", "epoch")} <= run.callback_metrics.keys()
    model, views = public(input_noise=0.4), batch()
    with HostSyncs() as syncs:
        model.losses(views)[0].backward()
    assert syncs.found == []


def test_two_processes_take_the_steps_of_one(tmp_path):
    """One mirrored view an image and no blended face negatives: those are drawn at random on each rank."""

    def fit(images, **run):
        data = Faces(16, batch_size=images)
        data.views = PCLViews(32, pose_negatives=1, pose_images=images)
        model = public(InDouble, plain_face=True).double()
        start = copy.deepcopy(model.state_dict())
        run = trainer(tmp_path, max_epochs=2, **run)
        run.fit(model, data)
        way = {name: weight.detach() - start[name] for name, weight in model.named_parameters()}
        return way, run

    strategy = DDPStrategy(process_group_backend="gloo", start_method="fork", find_unused_parameters=True)
    (expected, alone), (found, run) = fit(8), fit(4, devices=2, strategy=strategy)
    assert alone.global_step == 2 * 2 * 3  # the other trainer stays in its processes
    for name, way in expected.items():
        assert (found[name] - way).norm() <= 1e-6 * way.norm() + 1e-12, name
    parts = {name.split(".")[1] for name, way in expected.items() if way.norm() > 0}
    assert parts == {"backbone", "face_subnet", "pose_subnet", "face_projector", "pose_projector", "decoder"}
    for name in ("train/loss_epoch", "train/face/loss_epoch", "train/pose/loss_epoch", "train/alpha_pose_epoch"):
        torch.testing.assert_close(run.callback_metrics[name], alone.callback_metrics[name], atol=1e-5, rtol=1e-5)
