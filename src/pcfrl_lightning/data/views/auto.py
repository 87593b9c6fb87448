"""The default views, made where that is faster."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning.data.views.cpu import AlbumentationsViews
from pcfrl_lightning.data.views.device import DeviceViews


class AutoViews(AlbumentationsViews):
    """`DeviceViews` in training on a GPU, `AlbumentationsViews` everywhere else; the distributions are the same.

    Naming one of the two instead (`--data.views AlbumentationsViews`) decides it.  Own transforms (`face_transforms`,
    `pose_transforms`) are made by the workers in any case.  Arguments are those of `AlbumentationsViews`.
    """

    _on_device: DeviceViews | None = None

    def use_device(self, device: torch.device) -> str:
        """Choose by the device that trains."""
        self._on_device, self.stored = None, False
        if self.face_transforms or self.pose_transforms:
            return "AlbumentationsViews, which alone take own transforms"
        if device.type == "cuda":
            ranges = self.crop_scale, self.crop_ratio
            self._on_device = DeviceViews(self.side, self.appearance, *ranges, self.flip_p, self.rotation)
            self.stored = True
        names = ("DeviceViews", "AlbumentationsViews") if self._on_device else ("AlbumentationsViews", "DeviceViews")
        return f"{names[0]}, as training is on {device.type} (the others: --data.views {names[1]})"

    def sample(self, image: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return self._on_device.sample(image, rng) if self._on_device else super().sample(image, rng)

    def collate(self, samples: Sequence[dict[str, np.ndarray]]) -> dict[str, Tensor]:
        return self._on_device.collate(samples) if self._on_device else super().collate(samples)

    def batch(self, batch: dict[str, Tensor], keys: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        made = self._on_device.batch if self._on_device else super().batch
        return made(batch, keys, generator)
