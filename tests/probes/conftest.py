"""Small data sets, a small checkpoint and a quiet trainer."""

from pathlib import Path

import lightning as L
import numpy as np
import pytest
import torch

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import ArraySource
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.networks import FaceBackbone, PCFRLNetwork
from pcfrl_lightning.networks.rebuild import describe

SIDE = 16


def make_faces(name, labels, seed=0, pairs=None, class_names=None, images=None):
    """A split of noise images."""
    n = len(next(iter(labels.values())))
    if images is None:
        images = np.random.default_rng(seed).integers(0, 256, (n, SIDE, SIDE, 3), dtype=np.uint8)
    return FaceSet(ArraySource(images), labels, name=name, pairs=pairs, class_names=class_names)


class TinyData(FaceData):
    """A data module around given splits."""

    name = "tiny"

    def __init__(self, given):
        super().__init__(root=".", image_size=SIDE, num_workers=0)
        self.given = given

    def build(self):
        return self.given


@pytest.fixture
def tiny_data():
    return TinyData


@pytest.fixture
def faces():
    return make_faces


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> str:
    """A checkpoint of an untrained network of width 1/16."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.ckpt"
    torch.manual_seed(7)
    network = PCFRLNetwork(FaceBackbone(width=0.0625), image_size=32, projection_dim=8)
    weights = {f"network.{key}": value for key, value in network.state_dict().items()}
    spec = {"image_size": 32, "projection_dim": 8, "backbone": describe(network.backbone)}
    torch.save({"state_dict": weights, "hyper_parameters": spec}, path)
    return str(path)


@pytest.fixture
def trainer(tmp_path: Path):
    """Makes quiet CPU trainers that write into tmp_path."""

    def make(epochs: int = 3, **options):
        options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False} | options
        options = {"enable_model_summary": False, "accelerator": "cpu", "default_root_dir": tmp_path} | options
        return L.Trainer(max_epochs=epochs, **options)

    return make
