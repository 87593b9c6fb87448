"""A tiny checkpoint and a tiny data set of rendered faces."""

import pytest
import torch

from pcfrl_lightning import PCFRL
from pcfrl_lightning.networks import FaceBackbone
from pcfrl_lightning.synthetic.module import SyntheticFaces


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> str:
    """An untrained network of 32 px in a checkpoint as Lightning writes it."""
    torch.manual_seed(1)
    module = PCFRL(FaceBackbone(width=0.0625), image_size=32, projection_dim=16)
    path = tmp_path_factory.mktemp("checkpoint") / "last.ckpt"
    torch.save({"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}, path)
    return str(path)


@pytest.fixture
def faces(tmp_path, monkeypatch) -> SyntheticFaces:
    """60 training, 20 validation and 60 test images of 32 px."""
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "cache"))
    return SyntheticFaces(
        image_size=32,
        num_workers=0,
        train_size=60,
        val_size=20,
        test_size=60,
        identities=20,
        val_identities=10,
        test_identities=20,
        pairs_per_fold=4,
    )
