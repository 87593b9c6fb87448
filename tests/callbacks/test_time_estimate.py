"""What a run costs is said once, in one line, and right: from the start, after a resume, on the first process alone."""

from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from host_syncs import HostSyncs
from pcfrl_lightning.callbacks import TimeEstimate, time_estimate
from tiny import TinyFaces, tiny_model, trainer


@pytest.fixture
def six_seconds_a_step(monkeypatch):
    """The clock of the callback: six seconds more whenever it is read."""
    now = iter(range(0, 10_000, 6))
    monkeypatch.setattr(time_estimate, "time", SimpleNamespace(perf_counter=lambda: float(next(now))))


def fit(folder, resumed=None, **options):
    steps = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    run = trainer(folder, enable_checkpointing=True, callbacks=[steps, TimeEstimate(least=0)], **options)
    run.fit(tiny_model(), TinyFaces(20, batch_size=4), ckpt_path=resumed)


def told(capsys):
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("time:")]


def test_it_is_said_once_and_of_what_is_left(tmp_path, capsys, six_seconds_a_step):
    fit(tmp_path, max_epochs=4)  # 20 steps of 4 images; told after the third, with two measured
    start = "time:       0.7 images/s, 30 s an epoch"
    assert told(capsys) == [f"{start}, 102 s for the 3.4 epochs that are left (training alone)"]
    fit(tmp_path / "resumed", tmp_path / "step=7.ckpt", max_epochs=4)  # told after step 10
    assert told(capsys) == [f"{start}, 60 s for the 2 epochs that are left (training alone)"]
    fit(tmp_path / "steps", max_epochs=4, max_steps=5, accumulate_grad_batches=2)  # 10 of 20 batches, told after 3
    assert told(capsys) == [f"{start}, 48 s for the 1.6 epochs that are left (training alone)"]  # one step was taken


def test_short_runs_and_runs_for_debugging_say_nothing(tmp_path, capsys, six_seconds_a_step):
    run = trainer(tmp_path, max_epochs=1, callbacks=[TimeEstimate()])
    run.fit(tiny_model(), TinyFaces(20, batch_size=4))
    fit(tmp_path, fast_dev_run=5)
    assert told(capsys) == []


def state(device="cpu", world_size=1, is_global_zero=True):
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_progress=SimpleNamespace(current=SimpleNamespace(ready=1))))
    strategy = SimpleNamespace(root_device=torch.device(device))
    counts = {"num_training_batches": 100, "max_epochs": 1000, "max_steps": -1, "current_epoch": 0, "global_step": 1}
    return SimpleNamespace(
        fit_loop=loop, strategy=strategy, world_size=world_size, is_global_zero=is_global_zero, fast_dev_run=False,
        progress_bar_callback=None, accumulate_grad_batches=1, lightning_module=None, **counts,
    )  # fmt: skip


@pytest.mark.parametrize(("method", "batches"), [({}, 30), ({"optimizer_steps": 3}, 10)])
def test_the_steps_of_a_method_that_takes_several_for_a_batch_are_fewer_batches(method, batches):
    run = state()
    run.max_epochs, run.max_steps, run.lightning_module = -1, 31, SimpleNamespace(**method)
    assert time_estimate.batches_left(run) == batches


def test_days_on_a_cpu_point_to_a_smaller_run():
    assert time_estimate.describe(state(), 0.5, 64).endswith(" (training alone)")
    line = time_estimate.describe(state(), 10, 3.2)
    expected = "3.2 images/s, 17 min an epoch, 11.6 days for the 1000 epochs that are left (training alone)"
    assert line == f"time:       {expected}; a run for a CPU: --config configs/experiment/cpu.yaml after the others"
    assert "cpu.yaml" not in time_estimate.describe(state("cuda"), 10, 3.2)


@pytest.mark.parametrize(("first", "lines"), [(True, 1), (False, 0)])
def test_of_several_processes_the_first_one_tells_the_speed_of_all(capsys, six_seconds_a_step, first, lines):
    estimate, run = TimeEstimate(), state(world_size=4, is_global_zero=first)
    estimate.on_train_start(run, None)
    with HostSyncs() as syncs:
        for index in range(4):
            estimate.on_train_batch_end(run, None, None, {"source": torch.zeros(8, 3, 4, 4)}, index)
    assert not syncs.found
    printed = told(capsys)
    assert len(printed) == lines
    assert all("5.3 images/s" in line for line in printed)  # 4 x 8 images in 6 s


def test_a_run_without_an_end_tells_speed_and_epoch(capsys):
    run = state()
    run.max_epochs = -1
    assert time_estimate.describe(run, 3, 40) == "time:       40 images/s, 5 min an epoch (training alone)"
    run.num_training_batches = float("inf")
    assert time_estimate.describe(run, 3, 40) == "time:       40 images/s (training alone)"
    run.max_steps = 401
    assert time_estimate.describe(run, 3, 40) == "time:       40 images/s, 20 min until its end (training alone)"
