"""A clock that jumps changes neither weights nor speeds, nor which checkpoint is called the last."""

import os
import random
import time

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from pcfrl_lightning.callbacks import StopOnBreakdown, Throughput
from pcfrl_lightning.callbacks.stop_on_breakdown import last_good
from tiny import TinyFaces, tiny_model, trainer


def fit(folder):
    rare = ModelCheckpoint(folder, "rare", every_n_train_steps=4, enable_version_counter=False)
    often = ModelCheckpoint(folder, "often", every_n_train_steps=1, enable_version_counter=False)
    callbacks = [Throughput(), StopOnBreakdown(), rare, often]
    run = trainer(folder, max_epochs=2, enable_checkpointing=True, callbacks=callbacks, log_every_n_steps=2)
    model = tiny_model()
    run.fit(model, TinyFaces(20, batch_size=4))
    return run, model.state_dict()


def test_the_clock_may_jump_by_a_day_at_any_time(tmp_path, monkeypatch):
    _, expected = fit(tmp_path / "steady")
    jumps, now = random.Random(0), time.time
    monkeypatch.setattr(time, "time", lambda: now() + jumps.uniform(-86400, 86400))
    run, weights = fit(tmp_path / "jumping")
    assert [name for name, value in expected.items() if not torch.equal(value, weights[name])] == []
    speeds = [value for name, value in run.callback_metrics.items() if "images_per_second" in name]
    assert len(speeds) == 2
    assert all(0 < speed < 1e5 for speed in speeds)


@pytest.mark.parametrize("jump", [-86400, 86400])
def test_the_last_checkpoint_is_that_of_the_latest_step(tmp_path, jump):
    run, _ = fit(tmp_path)
    before = os.stat(tmp_path / "often.ckpt").st_mtime
    os.utime(tmp_path / "rare.ckpt", (before - jump, before - jump))
    assert last_good(run).endswith("often.ckpt")
