"""The figures of docs/calibration.md can be drawn from a checkpoint and from a log."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pcfrl_lightning import PCFRL
from pcfrl_lightning.networks import FaceBackbone

SCRIPT = Path(__file__).parents[2] / "docs" / "make_figures.py"


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script as a module, for batches of 8 images and another folder."""
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "cache"))
    spec = importlib.util.spec_from_file_location("make_figures", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.IMAGES = 8
    return module


def test_row_maxima_of_a_checkpoint(script, tmp_path):
    for split, prefix in (("train", "Training"), ("validation", "PublicTest"), ("test", "PrivateTest")):
        for name in ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"):
            folder = tmp_path / "fer" / split / name
            folder.mkdir(parents=True)
            for index in range(2):
                pixels = np.random.default_rng(index).integers(0, 255, (48, 48), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{prefix}_{index}.jpg")
    PCFRL(FaceBackbone(0.0625), image_size=32, projection_dim=16).network.save(tmp_path / "encoder")
    found = script.projections(str(tmp_path / "encoder"), str(tmp_path / "fer"))
    assert {name: tuple(value.shape) for name, value in found.items()} == {"face": (16, 16), "pose": (16, 16)}
    script.draw_row_maxima(found, tmp_path / "maxima.png")
    assert Image.open(tmp_path / "maxima.png").width > 500


def test_feedback_from_a_log(script, tmp_path):
    columns = [f"train/{branch}/negative_cosine_step" for branch in ("face", "pose")]
    log = tmp_path / "metrics.csv"
    log.write_text(f"step,{','.join(columns)}\n0,0.1,0.2\n1,,\n2,0.3,0.1\n")
    assert script.read_column(log, columns[0]) == ([0, 2], [0.1, 0.3])
    script.draw_feedback({"run": log}, tmp_path / "feedback.png")
    assert Image.open(tmp_path / "feedback.png").width > 500
