"""Fixtures shared by all tests."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # of this process and those it starts: the workers are the parallelism

import pytest
import torch

from parsers import keep_parsers

keep_parsers()

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(autouse=True)
def _one_thread():
    """Small tensors: more threads only cost time."""
    torch.set_num_threads(1)


@pytest.fixture
def shared_data() -> Path:
    """The folder of real sample data beside the checkout; tests that need it are skipped where it is absent."""
    path = SHARED / "data"
    if not path.is_dir():
        pytest.skip("real sample data (../shared/data) is not on this machine")
    return path


@pytest.fixture
def golden() -> Path:
    """The folder of parity values of the public PCL code."""
    path = SHARED / "golden"
    if not path.is_dir():
        pytest.skip("golden values (../shared/golden) are not on this machine")
    return path
