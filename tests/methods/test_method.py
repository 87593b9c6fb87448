"""What the base class does for every method."""

import csv
import math
import re
import warnings
from functools import partial
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from torch.utils.data import DataLoader

from pcfrl_lightning import PCFRL
from pcfrl_lightning.callbacks import Throughput
from pcfrl_lightning.errors import DataError, UsageError
from pcfrl_lightning.heads import (
    AdaptiveThreshold,
    CalibratedContrast,
    DelayedStart,
    Eq7,
    MixedNegatives,
    NPAThreshold,
    RandomNegatives,
    TopK,
)
from pcfrl_lightning.networks import FaceBackbone
from tiny import TinyFaces, tiny_model, trainer


class Recording(PCFRL):
    """Keeps the means of each epoch."""

    def end_epoch(self, means):
        self.epochs = [*getattr(self, "epochs", []), means]
        super().end_epoch(means)


def delayed(negatives):
    """Calibrates every anchor from epoch 2 on."""
    return CalibratedContrast(
        DelayedStart(NPAThreshold(-99.0), 2), Eq7(), negatives=negatives, calibrated_mean="anchors"
    )


def test_a_resume_inside_an_epoch_is_exact(tmp_path):
    """Steps 7 of 15 and on, three epochs: weights, epoch means and DWA of the uninterrupted run, with random parts."""

    def fit(resume=None):
        heads = {"face_contrast": delayed(MixedNegatives()), "pose_contrast": delayed(RandomNegatives(2))}
        model = tiny_model(cls=Recording, input_noise=0.1, **heads)
        save = L.pytorch.callbacks.ModelCheckpoint(
            tmp_path, "step-{step}", every_n_train_steps=7, save_top_k=-1, enable_version_counter=False
        )
        run = trainer(tmp_path, max_epochs=3, callbacks=[save], enable_checkpointing=True)
        run.fit(model, TinyFaces(images=20, batch_size=4), ckpt_path=resume)
        return model

    whole = fit()
    torch.manual_seed(12345)  # a new process has another random state
    resumed = fit(tmp_path / "step-step=7.ckpt")
    for (name, expected), actual in zip(whole.state_dict().items(), resumed.state_dict().values(), strict=True):
        assert torch.equal(expected, actual), name
    assert [means["face/calibrated"].item() for means in resumed.epochs] == [0, 8]
    for expected, actual in zip(whole.epochs[1:], resumed.epochs, strict=True):
        assert expected.keys() == actual.keys()
        for name in expected:
            torch.testing.assert_close(actual[name], expected[name], atol=0, rtol=1e-6)


def test_random_numbers_of_a_step_follow_epoch_batch_and_rank(monkeypatch):
    model = tiny_model()

    def draw(epoch, batch, rank):
        monkeypatch.setattr(PCFRL, "current_epoch", epoch)
        monkeypatch.setattr(PCFRL, "global_rank", rank)
        model._begin_step(batch)
        return torch.rand(()).item()

    places = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 0), (0, 1, 1)]
    first = [draw(*place) for place in places]
    assert len(set(first)) == len(places)
    assert [draw(*place) for place in places] == first


def test_random_numbers_follow_the_seed_of_the_run_which_a_checkpoint_restores(monkeypatch):
    monkeypatch.setattr(PCFRL, "current_epoch", 3)
    monkeypatch.setattr(PCFRL, "global_rank", 0)

    def with_seed(seed):
        torch.manual_seed(seed)
        return PCFRL(FaceBackbone(0.0625), image_size=32, projection_dim=16)

    def draw(model):
        model._begin_step(5)
        return torch.rand(()).item()

    first, second = with_seed(7), with_seed(8)
    assert draw(first) == draw(with_seed(7)) != draw(second)
    checkpoint = {"state_dict": {}}
    first.on_save_checkpoint(checkpoint)
    second.on_load_checkpoint(checkpoint)
    assert draw(second) == draw(first)


def test_the_optimiser_is_adam_with_cosine_annealing_by_epoch(tmp_path):
    rates = []

    class Watched(PCFRL):
        def on_train_batch_start(self, batch, batch_idx):
            rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])

    run = trainer(tmp_path, max_epochs=4)
    run.fit(tiny_model(Watched), TinyFaces(images=8, batch_size=4))
    (optimizer,) = run.optimizers
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["betas"] == (0.9, 0.999)
    expected = [5e-5 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(4)]
    assert rates == pytest.approx([rate for rate in expected for _ in range(2)])


def test_another_optimiser_is_set_in_one_line_and_gets_the_same_schedule(tmp_path):
    model = tiny_model()
    model.optimizer = partial(torch.optim.SGD, lr=0.01, momentum=0.9)
    run = trainer(tmp_path, max_epochs=2)
    run.fit(model, TinyFaces(images=8, batch_size=4))
    (optimizer,) = run.optimizers
    assert type(optimizer) is torch.optim.SGD
    assert optimizer.defaults["momentum"] == 0.9
    assert run.lr_scheduler_configs[0].scheduler.base_lrs == [0.01]
    assert {id(weight) for group in optimizer.param_groups for weight in group["params"]} == {
        id(weight) for weight in model.parameters()
    }


OPTIMISERS = {  # eps: no steps by the sign of gradients that are nothing but rounding
    "Adam": (partial(torch.optim.Adam, lr=1e-4, eps=1e-3), True),
    "AdamW": (partial(torch.optim.AdamW, lr=1e-4, eps=1e-3, weight_decay=0.1), True),
    "SGD": (partial(torch.optim.SGD, lr=0.01, momentum=0.9), True),
    "not fused": (partial(torch.optim.Adam, lr=1e-4, eps=1e-3, fused=False), False),
    "foreach": (partial(torch.optim.Adam, lr=1e-4, eps=1e-3, foreach=True), None),
    "Adagrad": (partial(torch.optim.Adagrad, lr=1e-4, eps=1e-3), None),  # its first state would be on the CPU
    "has none": (partial(torch.optim.RMSprop, lr=1e-4, eps=1e-3), "absent"),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_on_a_gpu_the_optimiser_is_fused_where_it_can_be(tmp_path, monkeypatch, name):
    """And takes the same steps, also after a checkpoint was read."""
    make, expected = OPTIMISERS[name]

    def fit(epochs, resume=None):
        model = tiny_model()
        model.optimizer = make
        L.seed_everything(0)
        run = trainer(tmp_path, max_epochs=2, max_steps=2 * epochs)
        run.fit(model, TinyFaces(images=8, batch_size=4), ckpt_path=resume)
        return run

    plain = fit(2)
    assert plain.optimizers[0].param_groups[0].get("fused", "absent") in (None, False, "absent")
    monkeypatch.setattr(PCFRL, "device", SimpleNamespace(type="cuda"))
    fit(1).save_checkpoint(tmp_path / "half.ckpt")
    for run in (fit(2), fit(2, tmp_path / "half.ckpt")):
        assert run.optimizers[0].param_groups[0].get("fused", "absent") is expected
        for one, other in zip(plain.model.parameters(), run.model.parameters(), strict=True):
            torch.testing.assert_close(other, one, atol=1e-6, rtol=1e-5)


def test_statistics_of_steps_are_logged_now_and_then_and_means_at_the_end(tmp_path):
    logger = L.pytorch.loggers.CSVLogger(tmp_path)
    run = trainer(tmp_path, max_epochs=2, log_every_n_steps=3, logger=logger)
    run.fit(tiny_model(), TinyFaces(images=16, batch_size=4))
    with open(f"{logger.log_dir}/metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows if row["train/loss_step"]] == ["2", "5"]  # the third and the sixth
    assert [row["step"] for row in rows if row["train/loss_epoch"]] == ["3", "7"]
    assert {"train/face/calibrated_share_epoch", "train/alpha_face_epoch"} <= rows[0].keys()


def test_logging_can_be_off(tmp_path):
    run = trainer(tmp_path, max_epochs=1, log_every_n_steps=0, callbacks=[Throughput()])
    run.fit(tiny_model(), TinyFaces(images=8, batch_size=4))
    assert not [name for name in run.callback_metrics if name.endswith("_step")]


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
def test_true_precisions_are_refused_before_data_is_read(tmp_path, precision):
    class Untouched(TinyFaces):
        def build(self):
            raise AssertionError("data was read")

    with pytest.raises(UsageError, match=rf"trainer.precision {precision} .* use one of 32-true, bf16-mixed, 16-mixed"):
        trainer(tmp_path, precision=precision).fit(tiny_model(), Untouched())


def test_a_batch_without_views_is_refused_in_one_line(tmp_path):
    loader = DataLoader([{"image": torch.zeros(4, 3, 32, 32, dtype=torch.uint8)}], batch_size=None)
    with pytest.raises(UsageError, match=r"PCFRL trains on views, and the batch has no pose_1, .*: give .*data.views"):
        trainer(tmp_path, max_epochs=1).fit(tiny_model(), loader)


@pytest.mark.parametrize(
    ("calibrator", "expected"),
    [
        (NPAThreshold(-99.0), r"100%"),
        (AdaptiveThreshold("quantile", 0.3), r"(62|75)%"),
        (AdaptiveThreshold("quantile", 0.7), None),
        (NPAThreshold(99.0), None),
        (TopK(1), None),
    ],
)
def test_a_threshold_that_lets_more_than_half_through_is_warned_about_once(tmp_path, calibrator, expected):
    model = tiny_model(face_contrast=CalibratedContrast(calibrator, Eq7()), pose_contrast=None)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        trainer(tmp_path, max_epochs=2, limit_train_batches=1).fit(model, TinyFaces(batch_size=4))
    texts = [str(warning.message) for warning in found if "were calibrated" in str(warning.message)]
    assert len(texts) == (expected is not None)
    assert all(re.match(f"{expected} of the face anchors were calibrated in epoch 0", text) for text in texts)
    assert all("model.contrast.calibrator" in text for text in texts)


def test_a_checkpoint_with_the_network_alone_is_enough(tmp_path):
    """What `pcfrl import-pcl` writes."""
    model = tiny_model()
    content = {
        "state_dict": {f"network.{name}": value for name, value in model.network.state_dict().items()},
        "hyper_parameters": {name: model.hparams[name] for name in ("backbone", "image_size", "projection_dim")},
    }
    torch.save(content, tmp_path / "x.ckpt")
    loaded = PCFRL.load_from_checkpoint(tmp_path / "x.ckpt")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded.eval()(images), model.eval()(images))
    del content["state_dict"]["network.decoder.linear.bias"]
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(DataError, match=r"x.ckpt .*decoder.linear.bias"):
        PCFRL.load_from_checkpoint(tmp_path / "x.ckpt")


def test_loading_calls_nothing_that_the_file_names(tmp_path):
    model, mark = tiny_model(), tmp_path / "called"
    order = {"class_path": "os.mkdir", "init_args": {"path": str(mark)}}
    for name, value in {
        "_instantiator": "os.mkdir",
        "task_weights": order,
        "contrast": {**order, "x": [order]},
    }.items():
        torch.save(
            {"state_dict": model.state_dict(), "hyper_parameters": {**model.hparams, name: value}}, tmp_path / "x.ckpt"
        )
        if name == "_instantiator":
            PCFRL.load_from_checkpoint(tmp_path / "x.ckpt")
        else:
            with pytest.raises(DataError, match=r"os.mkdir"):
                PCFRL.load_from_checkpoint(tmp_path / "x.ckpt")
        assert not mark.exists()
