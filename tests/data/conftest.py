"""Small image folders, and a cache folder of its own for every test."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def make_folder(tmp_path):
    """Write n random JPEG files below a folder of tmp_path."""

    def make(n: int, name: str = "faces", size: tuple[int, int] = (20, 16)) -> Path:
        folder = tmp_path / name
        rng = np.random.default_rng(0)
        for i in range(n):
            path = folder / f"p{i % 3}" / f"{i:04d}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
        return folder

    return make
