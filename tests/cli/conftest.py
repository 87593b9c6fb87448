import os
import sys

import numpy as np
import pytest
from PIL import Image

from pcfrl_lightning.cli.main import main
from pcfrl_lightning.cli.training import run
from pcfrl_lightning.data.releases.fer2013 import FER2013
from pcfrl_lightning.errors import UsageError


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory of its own, with the configs beside it, nothing of the user's."""
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(sys, "argv", ["pcfrl"])
    (tmp_path / "configs").symlink_to(os.path.abspath("configs"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def faces(folder):
    """Twelve noise images in a folder."""
    generator = np.random.default_rng(0)
    root = folder / "faces"
    root.mkdir()
    for index in range(12):
        Image.fromarray(generator.integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(root / f"{index}.png")
    return root


@pytest.fixture
def fer2013(folder):
    """A class-folder tree of FER-2013 with four images per class and split."""
    generator = np.random.default_rng(0)
    classes = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    for split, prefix in (("train", "Training"), ("validation", "PublicTest"), ("test", "PrivateTest")):
        for name in classes:
            target = folder / "fer" / split / name
            target.mkdir(parents=True)
            for index in range(4):
                pixels = generator.integers(0, 255, (48, 48), dtype=np.uint8)
                Image.fromarray(pixels).save(target / f"{prefix}_{index}.jpg")
    assert len(FER2013(folder / "fer").splits["train"]) == 28
    return folder / "fer"


@pytest.fixture
def pcfrl(folder):
    """Run one training command in this process, as `pcfrl ...` would."""
    return lambda *arguments: run([str(argument) for argument in arguments])


@pytest.fixture
def command(folder, monkeypatch):
    """Run ``pcfrl ...``; returns the exit status or the line printed on standard error."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["pcfrl", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        return stop.value.code

    return call


@pytest.fixture
def refused(pcfrl, capsys):
    """Run a command that must be refused; returns the one line it prints."""

    def call(*arguments):
        with pytest.raises((SystemExit, UsageError)) as stop:
            pcfrl(*arguments)
        printed = f"pcfrl: {stop.value}" if isinstance(stop.value, UsageError) else capsys.readouterr().err
        return printed.strip().splitlines()[-1]

    return call
