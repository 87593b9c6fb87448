"""A process that fails ends the others of its run."""

import multiprocessing
import os
import signal
import socket
import threading
import time

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy

from pcfrl_lightning.data.failure import FailureWatch
from pcfrl_lightning.data.images.sources import CorruptImage, ImageSource
from pcfrl_lightning.errors import DataError
from tiny import TinyFaces, tiny_model, trainer


class Unreadable(ImageSource):
    """Images that can be read at set-up, and on rank 1 no more."""

    def __init__(self, source):
        self.source = source

    def __len__(self):
        return len(self.source)

    def name(self, index):
        return self.source.name(index)

    def read(self, index):
        if os.environ["LOCAL_RANK"] == "1" and index % 2:
            raise CorruptImage(self.name(index), "empty file")
        return self.source.read(index)

    def fingerprint(self):
        return self.source.fingerprint()


class Faces(TinyFaces):
    def build(self):
        splits = super().build()
        splits["train"].source = Unreadable(splits["train"].source)
        return splits

    def on_exception(self, exception):
        super().on_exception(exception)
        time.sleep(60)  # what ends the other process must not be the end of this one


class Absent(TinyFaces):
    def build(self):
        raise DataError("no faces here; copy them again")


class Killed(TinyFaces):
    number = signal.SIGKILL

    def on_before_batch_transfer(self, batch, dataloader_idx):
        if self.trainer.global_rank == 1 and self.trainer.global_step == 2:
            os.kill(os.getpid(), self.number)
        return super().on_before_batch_transfer(batch, dataloader_idx)


class Lost(Killed):
    """Its machine no longer answers: connections stay, nothing comes."""

    number = signal.SIGSTOP


def _rank(rank: int, port: int, kind: type[TinyFaces], folder) -> None:
    os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    strategy = DDPStrategy(process_group_backend="gloo")
    trainer(folder, max_epochs=1, devices=2, strategy=strategy).fit(tiny_model(), kind(64, batch_size=8))


def run(kind: type[TinyFaces], folder) -> list[multiprocessing.Process]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_rank, args=(rank, port, kind, folder)) for rank in range(2)]
    for process in processes:
        process.start()
    return processes


@pytest.fixture
def _no_ranks_left():
    before = set(multiprocessing.active_children())
    yield
    for process in set(multiprocessing.active_children()) - before:
        process.kill()


@pytest.mark.usefixtures("_no_ranks_left")
def test_a_data_error_of_one_rank_ends_the_other(tmp_path, capfd):
    processes = run(Faces, tmp_path)
    processes[0].join(120)
    assert processes[0].exitcode == 1
    assert processes[1].is_alive()
    message = capfd.readouterr().err
    assert "pcfrl: process 1 failed: train: " in message
    assert "cannot be read (more than 1 %)" in message


@pytest.mark.usefixtures("_no_ranks_left")
@pytest.mark.parametrize(
    ("kind", "message"), [(Killed, "by peer"), (Lost, "process 1 has given no sign of life for 3 s")]
)
def test_a_rank_that_dies_without_a_word_ends_the_other(tmp_path, capfd, monkeypatch, kind, message):
    monkeypatch.setattr("pcfrl_lightning.data.failure._SILENCE", 3.0)
    processes = run(kind, tmp_path)
    processes[0].join(120)
    assert processes[0].exitcode == 1
    assert message in capfd.readouterr().err


def test_an_error_is_seen_where_the_others_can_no_longer_be_told(monkeypatch):
    class Gone:
        def set(self, key, value):
            raise torch.distributed.DistNetworkError("Broken pipe")

    monkeypatch.setattr("pcfrl_lightning.data.failure._PERIOD", 0.0)
    monkeypatch.setattr("torch.distributed.get_rank", lambda: 1)
    watch = FailureWatch()
    watch._stopped, watch._store = threading.Event(), Gone()
    watch.report(DataError("an image is cut off"))


@pytest.mark.usefixtures("_no_ranks_left")
def test_an_error_at_set_up_is_met_by_every_rank(tmp_path, capfd):
    processes = run(Absent, tmp_path)
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [1, 1]
    assert capfd.readouterr().err.count("DataError: no faces here") == 2
