"""kill -9 at random moments of a run that is continued each time: the weights are those of the uninterrupted run.

Three kills by default; PCFRL_KILLS=20 makes 20 (`pytest -s` shows where each one hit).
"""

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from pcfrl_lightning.callbacks import StopOnBreakdown, Throughput
from pcfrl_lightning.cli.run_files import WholeCheckpoints
from tiny import TinyFaces, tiny_model, trainer

KILLS = int(os.environ.get("PCFRL_KILLS", "3"))
EPOCHS = 3 if KILLS < 10 else 6


def fit(folder: Path) -> None:
    """12 steps an epoch, a checkpoint every 2; goes on with what there is."""
    last = folder / "last.ckpt"
    saving = ModelCheckpoint(folder, "last", every_n_train_steps=2, enable_version_counter=False)
    callbacks = [Throughput(), StopOnBreakdown(), saving]
    run = trainer(folder, max_epochs=EPOCHS, enable_checkpointing=True, callbacks=callbacks, log_every_n_steps=5)
    run.strategy.checkpoint_io = WholeCheckpoints()
    resumed = last if last.is_file() else None
    run.fit(tiny_model(), TinyFaces(48, batch_size=4, num_workers=1), ckpt_path=resumed)
    run.save_checkpoint(folder / "end.ckpt")


def start(folder: Path) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=fit, args=(folder,))
    process.start()
    return process


def moment(folder: Path) -> str:
    """Where a run was when it was killed."""
    if list(folder.glob("*.part")):
        return "while a checkpoint was written"
    if not (folder / "last.ckpt").is_file():
        return "before the first checkpoint"
    return f"after the checkpoint of step {torch.load(folder / 'last.ckpt', weights_only=True)['global_step']}"


@pytest.mark.timeout(120 * max(KILLS, 3))
@pytest.mark.filterwarnings("ignore")
def test_killed_and_continued(tmp_path):
    before = time.monotonic()
    whole = start(tmp_path / "whole")
    whole.join()
    seconds = time.monotonic() - before
    expected = torch.load(tmp_path / "whole" / "end.ckpt", weights_only=True)["state_dict"]
    chance, kills, runs = random.Random(0), 0, 0
    while kills < KILLS or not runs:
        folder = tmp_path / f"run_{runs}"
        process = start(folder)
        if kills < KILLS:
            process.join(chance.uniform(0.1, 0.5) * seconds)
        else:
            process.join()
        if process.is_alive():
            process.kill()
            process.join()
            kills += 1
            print(f"kill {kills}: {moment(folder)}")
            continue
        assert process.exitcode == 0
        found = torch.load(folder / "end.ckpt", weights_only=True)
        assert found["global_step"] == 12 * EPOCHS
        assert [name for name, value in expected.items() if not torch.equal(found["state_dict"][name], value)] == []
        runs += 1
    print(f"{kills} kills, {runs} runs to the end, all with the weights of the uninterrupted run")
