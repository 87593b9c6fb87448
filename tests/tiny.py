"""A tiny data set and model for tests of whole runs."""

import lightning as L
import numpy as np
import torch

from pcfrl_lightning import PCFRL
from pcfrl_lightning.data import AlbumentationsViews, ArraySource, FaceData, FaceSet
from pcfrl_lightning.heads import AdaptiveThreshold, CalibratedContrast, Eq7
from pcfrl_lightning.networks import FaceBackbone


class TinyFaces(FaceData):
    """Noise images with two classes."""

    name = "tiny"

    def __init__(self, images: int = 16, **kwargs):
        super().__init__(root=".", views=AlbumentationsViews(), **{"image_size": 32, "num_workers": 0, **kwargs})
        self.images = images

    def build(self):
        generator = np.random.default_rng(0)
        pixels = generator.integers(0, 255, (self.images, 32, 32, 3), dtype=np.uint8)
        labels = {"expression": torch.arange(self.images) % 2}
        names = [str(index) for index in range(self.images)]
        return {split: FaceSet(ArraySource(pixels, names), labels, name=split) for split in ("train", "val")}


def tiny_model(cls: type[PCFRL] = PCFRL, **kwargs) -> PCFRL:
    """A model of a few thousand weights whose heads calibrate half of the anchors."""
    torch.manual_seed(0)
    contrast = {
        "face_contrast": CalibratedContrast(AdaptiveThreshold("quantile", 0.5), Eq7(1.0)),
        "pose_contrast": CalibratedContrast(AdaptiveThreshold("quantile", 0.5), Eq7(0.2)),
    }
    return cls(FaceBackbone(0.0625), **{**contrast, "image_size": 32, "projection_dim": 16, **kwargs})


def unmoved(model: torch.nn.Module, before: dict[str, torch.Tensor]) -> list[str]:
    """Names of the weights that are as before, but for the biases that the softmax of an attention takes away."""
    names = [name for name, value in model.named_parameters() if name in before and torch.equal(value, before[name])]
    return [name for name in names if not name.endswith("attend.bias")]


def summands(model: PCFRL, batch):
    """L_PDD, the face contrast and the pose contrast of Eq. 8."""
    parts = model.parts(batch)
    return parts.reconstruction + parts.orthogonality, parts.face, parts.pose


def trainer(folder, **kwargs) -> L.Trainer:
    """A quiet trainer on the CPU."""
    quiet = {
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "logger": False,
        "log_every_n_steps": 1,
        "accelerator": "cpu",
        "devices": 1,
    }
    return L.Trainer(default_root_dir=folder, **{**quiet, **kwargs})
