"""A run that has broken down stops, says where, and keeps the checkpoint from before."""

import os

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from host_syncs import HostSyncs
from pcfrl_lightning import PCFRL
from pcfrl_lightning.callbacks import StopOnBreakdown
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.host_copy import HostCopy
from tiny import TinyFaces, tiny_model, trainer


class Breaks(PCFRL):
    """The loss or the weights are not finite from the seventh step on."""

    where = "loss"

    def losses(self, batch):
        loss, stats = super().losses(batch)
        return (loss * float("nan") if self.where == "loss" and self.global_step == 6 else loss), stats

    def on_before_zero_grad(self, optimizer):
        if self.where == "weights" and self.global_step == 7:
            next(self.parameters()).data.fill_(float("inf"))


class Collapses(PCFRL):
    """All projections are equal after the fourth step."""

    def losses(self, batch):
        if self.global_step >= 4:
            for module in self.network.modules():
                if isinstance(module, torch.nn.Linear):
                    module.weight.data.zero_()
        return super().losses(batch)


def fit(folder, cls, callback, every=2, steps_per_checkpoint=4, epochs=4):
    checkpoints = ModelCheckpoint(
        folder, "last", every_n_train_steps=steps_per_checkpoint, enable_version_counter=False
    )
    options = {"enable_checkpointing": True, "callbacks": [callback, checkpoints], "log_every_n_steps": every}
    trainer(folder, max_epochs=epochs, **options).fit(tiny_model(cls), TinyFaces(20, batch_size=4))


@pytest.mark.parametrize(("where", "every"), [("loss", 2), ("loss", 3), ("weights", 2), ("weights", 50)])
def test_what_is_not_finite_stops_the_run_and_is_never_saved(tmp_path, monkeypatch, where, every):
    monkeypatch.setattr(Breaks, "where", where)
    line = r"not finite (since|after) step [78]\b.*, on \d+, \d+, \d+ and 1 more images"
    with pytest.raises(UsageError, match=line) as error:
        fit(tmp_path, Breaks, StopOnBreakdown(), every)
    assert f"the last good checkpoint is {tmp_path / 'last.ckpt'}" in str(error.value)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 4
    assert all(value.isfinite().all() for value in saved["state_dict"].values())
    if where == "loss":
        assert len((tmp_path / "broken_step_7.txt").read_text().splitlines()) == 4
    assert "\n" not in str(error.value)


def test_collapsed_features_stop_the_run_and_leave_a_checkpoint_from_before(tmp_path):
    with pytest.raises(UsageError, match=r"deviation is .* in step 12, and below 0\.001 since step 6,") as error:
        fit(tmp_path, Collapses, StopOnBreakdown(steps=6))
    assert f"the last good checkpoint is {tmp_path / 'last_good.ckpt'}" in str(error.value)
    assert torch.load(tmp_path / "last_good.ckpt", weights_only=True)["global_step"] == 4


def test_a_bound_of_zero_never_stops_and_a_healthy_run_leaves_nothing(tmp_path):
    fit(tmp_path / "a", Collapses, StopOnBreakdown(min_std=0), epochs=2)
    fit(tmp_path / "b", PCFRL, StopOnBreakdown(), epochs=2)
    assert os.listdir(tmp_path / "b") == ["last.ckpt"]


def test_no_step_waits_for_the_device(tmp_path):
    found = []

    class Watched(StopOnBreakdown):
        def on_train_batch_end(self, trainer, *args):
            with HostSyncs() as syncs:
                super().on_train_batch_end(trainer, *args)
            found.append(syncs.found)

    fit(tmp_path, PCFRL, Watched(), every=3, steps_per_checkpoint=100, epochs=2)
    assert found == [[]] * 10


def test_on_a_gpu_a_bad_loss_is_found_one_logged_step_later(tmp_path, monkeypatch):
    monkeypatch.setattr(HostCopy, "at_once", False)
    with pytest.raises(UsageError, match=r"not finite since step 7 \(now 10, .*, on \d+, \d+, \d+ and 1 more images"):
        fit(tmp_path, Breaks, StopOnBreakdown(), every=2, steps_per_checkpoint=100)


@pytest.mark.parametrize("arguments", [{"min_std": -1}, {"steps": 0}])
def test_wrong_arguments(arguments):
    with pytest.raises(ValueError, match="min_std >= 0 and steps >= 1"):
        StopOnBreakdown(**arguments)
