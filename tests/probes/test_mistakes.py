"""Mistakes that show only when a probe starts: each is of a kind that the command line prints in one line."""

import lightning as L
import pytest
import torch

from pcfrl_lightning.errors import DataError, UsageError
from pcfrl_lightning.probes import HeadPoseProbe


@pytest.fixture
def probe():
    return HeadPoseProbe(baseline="pixels", image_size=16)


@pytest.fixture
def splits(faces):
    return {name: faces(f"tiny/{name}", {"pose": torch.zeros(6, 3)}) for name in ("train", "test")}


def test_several_processes(probe, splits, tiny_data, trainer, monkeypatch):
    monkeypatch.setattr(L.Trainer, "world_size", 2)
    probe.trainer = trainer()
    probe.trainer.datamodule = tiny_data(splits)
    with pytest.raises(UsageError, match=r"trainer\.devices: 1"):
        probe.setup("fit")


def test_no_face_data(probe, trainer):
    with pytest.raises(UsageError, match=r"a probe needs a data module: trainer.fit"):
        trainer().fit(probe, [torch.zeros(1)])


def test_a_missing_split(probe, splits, tiny_data, trainer):
    with pytest.raises(DataError, match=r"needs a split 'test'; the data set has train: give a data\.root"):
        trainer().test(probe, tiny_data({"train": splits["train"]}))
