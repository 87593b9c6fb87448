"""Hand-made features as measured references: LBP, HoG and the pixels themselves, all on grey images.

They look at images in their own size where that is below the evaluation size (48 px for FER-2013).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning.errors import UsageError

GREY_WEIGHTS = (0.299, 0.587, 0.114)  # ITU-R BT.601


class GreyFeatures(ABC):
    """Base: one feature vector, float32 (B, D), computed from each grey image alone."""

    enlarges = False
    precision = "float32"
    device = torch.device("cpu")
    names: tuple[str, ...]

    @abstractmethod
    def describe(self, grey: np.ndarray) -> np.ndarray:
        """The feature of one image: (S, S) uint8 to (D,) float."""

    def fingerprint(self) -> str:
        """Name and settings."""
        settings = " ".join(f"{key}={value}" for key, value in sorted(vars(self).items()))
        return f"{self.names[0]} {settings}"

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        rows = [self.describe(grey) for grey in to_grey(images).numpy()]
        return {self.names[0]: torch.from_numpy(np.stack(rows).astype(np.float32))}


class PixelFeatures(GreyFeatures):
    """The grey values in [0, 1]."""

    names = ("pixels",)

    def describe(self, grey: np.ndarray) -> np.ndarray:
        return grey.reshape(-1) / 255.0


@dataclass
class LBPFeatures(GreyFeatures):
    """Histograms of uniform local binary patterns (59 bins for 8 points), one per cell of a regular grid, sum one."""

    names = ("lbp",)
    points: int = 8  # neighbours on the circle
    radius: int = 2  # of the circle, pixels
    cells: int = 4  # along each side

    def describe(self, grey: np.ndarray) -> np.ndarray:
        from skimage.feature import local_binary_pattern

        bins = self.points * (self.points - 1) + 3
        codes = local_binary_pattern(grey, self.points, self.radius, method="nri_uniform").astype(np.int64)
        row, column = (np.arange(side) * self.cells // side for side in grey.shape)
        cell = row[:, None] * self.cells + column
        counts = np.bincount((cell * bins + codes).reshape(-1), minlength=self.cells**2 * bins)
        histograms = counts.reshape(-1, bins)
        return (histograms / histograms.sum(1, keepdims=True)).reshape(-1)


@dataclass
class HoGFeatures(GreyFeatures):
    """Histograms of oriented gradients, L2-Hys normalised."""

    names = ("hog",)
    orientations: int = 9  # bins over 180 degrees
    cell: int = 8  # side in pixels
    block: int = 2  # side in cells

    def describe(self, grey: np.ndarray) -> np.ndarray:
        from skimage.feature import hog

        if min(grey.shape) < self.cell * self.block:
            told = f"images of {self.cell * self.block} pixels at least, not {min(grey.shape)}"
            raise UsageError(f"model.baseline hog needs {told}: raise model.image_size, or take lbp or pixels")
        cell, block = (self.cell, self.cell), (self.block, self.block)
        return hog(grey, self.orientations, pixels_per_cell=cell, cells_per_block=block, block_norm="L2-Hys")


HAND_MADE: dict[str, type[GreyFeatures]] = {"lbp": LBPFeatures, "hog": HoGFeatures, "pixels": PixelFeatures}


def to_grey(images: Tensor) -> Tensor:
    """uint8 (B, 3, S, S) RGB to uint8 (B, S, S); equal channels stay as they are."""
    weights = torch.tensor(GREY_WEIGHTS, dtype=torch.float64).view(1, 3, 1, 1)
    return (images.cpu() * weights).sum(1).round().to(torch.uint8)
