"""SIGTERM and Ctrl-C in a fit, runs that are finished, two runs in one folder, checkpoints on a full disk."""

import errno
import os
import re
import shlex
import signal
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from pcfrl_lightning import files
from pcfrl_lightning.cli.resume import check_unfinished, check_version
from pcfrl_lightning.cli.run_files import WholeCheckpoints
from pcfrl_lightning.cli.stopping import StopAndSave, resuming
from pcfrl_lightning.cli.training import check_processes
from pcfrl_lightning.errors import Stopped, UsageError
from pcfrl_lightning.methods.base import Method
from pcfrl_lightning.run_directory import claimed
from tiny import TinyFaces, tiny_model, trainer

SMALL = [
    "--model.backbone.width=0.0625",
    "--model.projection_dim=16",
    "--model.image_size=32",
    "--data.batch_size=4",
    "--data.num_workers=0",
    "--trainer.max_epochs=2",
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.enable_progress_bar=false",
]
FOLDER = "runs/pretrain/version_{}/checkpoints/last.ckpt"


@pytest.fixture
def signalled(monkeypatch):
    """Sends a signal to this process in the fifth step, as many times as asked for."""

    def send(number: int, times: int = 1) -> None:
        def in_step(self, optimizer):
            for _ in range(times if self.trainer.global_step == 4 else 0):
                signal.raise_signal(number)

        monkeypatch.setattr(Method, "on_before_zero_grad", in_step)

    return send


def test_the_printed_command_goes_on_and_a_finished_run_is_not_resumed_in_silence(
    command, faces, folder, capsys, monkeypatch, signalled
):
    """Twelve images: 3 steps an epoch. The folder holds whole files only, whatever TMPDIR is."""
    monkeypatch.setenv("TMPDIR", "/does/not/exist")
    signalled(signal.SIGTERM)
    fit = ["fit", "--config", "configs/pretrain.yaml", "--data.root", faces, *SMALL]
    assert command(*fit) == 143
    printed = capsys.readouterr().err.strip().splitlines()[-1]
    found = re.match(r"pcfrl: stopped by SIGTERM after step 5, in epoch 1; go on with: pcfrl (fit .*)", printed)
    assert found
    assert f"--ckpt_path {FOLDER.format(0)}" in found[1]
    assert command(*shlex.split(found[1])) == 0
    assert torch.load(FOLDER.format(1), weights_only=True)["global_step"] == 6
    line = command(*fit, "--ckpt_path", FOLDER.format(1))
    assert line.startswith(f"pcfrl: {FOLDER.format(1)} is the end of a run, 2 of 2 epochs are done: ")
    assert f"--init_from {FOLDER.format(1)} --trainer.max_epochs" in line
    with claimed(L.Trainer(logger=CSVLogger("runs", "pretrain", version="same"), accelerator="cpu")):
        line = command(*fit, "--trainer.logger.version=same")
    assert re.match(rf"pcfrl: runs/pretrain/same belongs to a run .*\(process {os.getpid()} on .*version NAME", line)
    assert sorted(os.listdir("runs/pretrain")) == ["version_0", "version_1"]
    assert not list(folder.rglob("*.part"))


def test_a_command_line_that_goes_on():
    given = ["fit", "--init_from", "a.ckpt", "--ckpt_path=b.ckpt", "--data.root", "my faces"]
    assert resuming(given, Path("c.ckpt")) == ["fit", "--data.root", "my faces", "--ckpt_path", "c.ckpt"]


def fit(folder: Path, resumed: Path | None = None, **options) -> L.Trainer:
    """Two epochs of five steps."""
    callbacks = [ModelCheckpoint(folder, "last", enable_version_counter=False), StopAndSave()]
    run = trainer(folder, enable_checkpointing=True, callbacks=callbacks, max_epochs=2, **options)
    run.fit(tiny_model(), TinyFaces(20 * options.get("accumulate_grad_batches", 1), batch_size=4), ckpt_path=resumed)
    return run


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_run_that_was_stopped_ends_with_the_same_weights(tmp_path, signalled, monkeypatch, accumulate):
    fit(tmp_path / "whole", accumulate_grad_batches=accumulate)
    before = signal.getsignal(signal.SIGINT)
    signalled(signal.SIGINT)
    with pytest.raises(Stopped, match="SIGINT after step 5, in epoch 0") as stop:
        fit(tmp_path / "stopped", accumulate_grad_batches=accumulate)
    assert stop.value.code == 130
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    fit(tmp_path / "again", tmp_path / "stopped" / "last.ckpt", accumulate_grad_batches=accumulate)
    whole, again = (torch.load(tmp_path / name / "last.ckpt", weights_only=True) for name in ("whole", "again"))
    for name, value in whole["state_dict"].items():
        assert torch.equal(again["state_dict"][name], value), name


def test_a_second_signal_ends_at_once_and_a_run_without_checkpoints_writes_none(tmp_path, signalled):
    signalled(signal.SIGTERM, times=2)
    with pytest.raises(Stopped, match="twice, at once"):
        fit(tmp_path)
    assert os.listdir(tmp_path) == []
    signalled(signal.SIGTERM)
    with pytest.raises(Stopped):
        trainer(tmp_path, callbacks=[StopAndSave()], max_epochs=1).fit(tiny_model(), TinyFaces(20, batch_size=4))
    assert os.listdir(tmp_path) == []


def test_more_processes_than_cores_are_refused():
    check_processes(trainer(".", devices=1))
    cores = len(os.sched_getaffinity(0))
    with pytest.raises(UsageError, match=rf"trainer\.devices: 99 processes on {cores} CPU cores; give at most {cores}"):
        check_processes(trainer(".", devices=99))


def test_only_a_run_with_epochs_left_goes_on():
    loops = {"fit_loop": {"epoch_progress": {"current": {"processed": 3}}}}
    for epochs in (4, -1, None):
        check_unfinished(loops, epochs, "x.ckpt")
    check_unfinished({}, 3, "x.ckpt")
    for epochs in (2, 3):
        with pytest.raises(UsageError, match=rf"3 of {epochs} epochs are done"):
            check_unfinished(loops, epochs, "x.ckpt")


def test_a_checkpoint_of_a_later_version_is_refused_by_version():
    for state in (None, {}, {"seed": 0}, {"format": 1, "version": "0.1.0"}):
        check_version(state, "x.ckpt")
    with pytest.raises(UsageError, match=r"x\.ckpt is of pcfrl-lightning 9\.0, which this version, .* install that"):
        check_version({"format": 2, "version": "9.0"}, "x.ckpt")


def test_runs_that_start_together_get_folders_of_their_own(tmp_path):
    trainers = [L.Trainer(logger=CSVLogger(tmp_path, "pretrain"), accelerator="cpu") for _ in range(3)]
    with claimed(trainers[0]), claimed(trainers[1]), claimed(trainers[2]):
        folders = [Path(each.logger.log_dir) for each in trainers]
        for folder in folders[:2]:
            (folder / "metrics.csv").touch()
    assert [folder.name for folder in folders] == ["version_0", "version_1", "version_2"]
    assert sorted(os.listdir(tmp_path / "pretrain")) == ["version_0", "version_1"]  # the third wrote nothing


def test_an_error_of_a_run_passes_and_its_empty_folder_goes(tmp_path):
    with (
        pytest.raises(FileNotFoundError),
        claimed(L.Trainer(logger=CSVLogger(tmp_path, "pretrain"), accelerator="cpu")),
    ):
        raise FileNotFoundError
    assert os.listdir(tmp_path / "pretrain") == []


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_checkpoint_before(tmp_path, monkeypatch, call):
    path, temporary = tmp_path / "run" / "last.ckpt", tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    io = WholeCheckpoints()
    io.save_checkpoint({"a": torch.ones(1000)}, path)
    old = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    if call == "write":
        part = Path("/dev/full")
        monkeypatch.setattr(Path, "with_name", lambda self, name: part)
        monkeypatch.setattr(Path, "unlink", lambda self, **_: None)
    else:
        monkeypatch.setattr(files.os, call, full)
    with pytest.raises(UsageError, match=r"last\.ckpt cannot be written: No space left on device; the one b"):
        io.save_checkpoint({"a": torch.zeros(1000)}, path)
    assert path.read_bytes() == old
    assert os.listdir(path.parent) == ["last.ckpt"]
    assert os.listdir(temporary) == []
