"""Training images that stay on the device that makes views of them, so that no loader reads any."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning.data.images.decoded import DecodedImages
from pcfrl_lightning.data.loaders import ViewBatches
from pcfrl_lightning.data.views.base import Views
from pcfrl_lightning.errors import DataError


class KeyBatches(ViewBatches):
    """Batches without images: keys and seeds alone."""

    def images(self, pairs: Sequence[tuple[int, int]]) -> dict[str, Any]:
        return {}


class ResidentImages:
    """What `Views.collate` makes of all images of a set, on a device.

    Args:
        images: the set, with readable ones; an unreadable image is replaced by the next readable one.
        views: views that are `stored`.
        device: where to keep it.

    Raises:
        DataError: machine or device has not the memory.
    """

    def __init__(self, images: DecodedImages, views: Views, device: torch.device) -> None:
        images.check_memory(3)  # the samples, the batch of them, and its copy while it is made contiguous
        readable = np.flatnonzero(images.shapes[:, 0]).tolist()
        places = np.searchsorted(readable, np.arange(len(images))) % len(readable)
        self._places = torch.from_numpy(places).to(device)
        unasked = np.random.default_rng(0)  # views that are stored take all randomness on the device
        batch = views.collate([views.sample(images.read(row), unasked) for row in readable])
        size = sum(value.nbytes for value in batch.values())
        if device.type == "cuda" and size > (free := torch.cuda.mem_get_info(device)[0]):
            sizes = f"{size / 1e9:.1f} GB of images, {free / 1e9:.1f} GB free on {device}"
            raise DataError(f"cache: memory keeps images on the device: {sizes}; use cache: disk")
        self._batch = {key: value.to(device) for key, value in batch.items()}

    def rows(self, rows: Tensor) -> dict[str, Tensor]:
        """Of the images ``rows`` (N,), on the device."""
        places = self._places[rows]
        return {key: value[places] for key, value in self._batch.items()}
