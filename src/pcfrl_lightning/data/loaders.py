"""Data sets that assemble whole batches, for views or of plain images; and images that stay on the device instead."""

import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.decoded import DecodedImages
from pcfrl_lightning.data.images.sources import CorruptImage
from pcfrl_lightning.data.views.base import Views, batch_seed, stacked
from pcfrl_lightning.errors import DataError

UNREADABLE = "unreadable"
KEYS = "keys"
_SEED = "batch_seed"
_MOST_REPLACEMENTS = 100


class ViewBatches(Dataset[dict[str, Any]]):
    """Batches of views; items are asked for as (epoch, index), or as an index, which means epoch 0.

    An unreadable image is replaced by the next readable one of the set and reported in the batch under `unreadable`
    as (name, reason) pairs, a key that exists only then and that the data module takes out again.  What `device_views`
    needs beside the images is in the batch, too.  The seed of an item begins with ``seed``.
    """

    def __init__(self, faces: FaceSet, views: Views, seed: int) -> None:
        self.faces, self.views, self.seed = faces, views, seed

    def __len__(self) -> int:
        return len(self.faces)

    def __getitems__(self, keys: Sequence[tuple[int, int] | int]) -> dict[str, Any]:
        """A batch: uint8 tensors (N, ..., 3, h, w)."""
        # the sampler that Lightning puts in for `overfit_batches` gives indices
        pairs = [(0, key) if isinstance(key, int) else key for key in keys]
        seeds = {KEYS: torch.tensor(pairs, dtype=torch.long), _SEED: batch_seed(self.seed, *pairs[0])}
        return self.images(pairs) | seeds

    def images(self, pairs: Sequence[tuple[int, int]]) -> dict[str, Any]:
        """What the views make of the images of keys, and those that cannot be read."""
        threads = self.faces.source.reads_at_once
        samples, unreadable = [], []
        with ThreadPoolExecutor(threads) as pool:  # each image has a generator of its own: their order does not matter
            drawn = (pool.map if threads > 1 else map)(self._draw, pairs)
            for place, (images, rng, passed_over) in enumerate(drawn):
                samples.append(self.views.sample_item(images, rng, place))
                unreadable += passed_over
        return {**self.views.collate(samples), **({UNREADABLE: unreadable} if unreadable else {})}

    def _draw(self, key: tuple[int, int]) -> tuple[list[np.ndarray], np.random.Generator, list[tuple[str, str]]]:
        """The pictures of a key, its generator, and (name, reason) of those that could not be read before it."""
        unreadable: list[tuple[str, str]] = []
        rng, index = np.random.default_rng([self.seed, *key]), key[1]
        tried = min(_MOST_REPLACEMENTS, len(self.faces))
        for step in range(tried):
            try:
                row = (index + step) % len(self.faces)
                return [self.faces.draw(row, rng) for _ in range(self.views.pictures)], rng, unreadable
            except CorruptImage as error:
                unreadable.append((error.name, error.reason))
        name, reason = unreadable[0]
        raise DataError(f"{self.faces.name}: {tried} images in a row cannot be read, first {name} ({reason})")


class KeyBatches(ViewBatches):
    """Batches without images: keys and seeds alone."""

    def images(self, pairs: Sequence[tuple[int, int]]) -> dict[str, Any]:
        return {}


class ImageBatches(Dataset[dict[str, Tensor]]):
    """Batches of whole images in one size S: `image` uint8 (N, 3, S, S) and `index` (N,) long."""

    def __init__(self, faces: FaceSet, image_size: int) -> None:
        self.faces, self.image_size = faces, image_size

    def __len__(self) -> int:
        return len(self.faces)

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        try:
            images = [fit_square(self.faces.image(index), self.image_size) for index in indices]
        except CorruptImage as error:
            raise DataError(
                f"{self.faces.name}: read at set-up but not now: {error}; restore it, or begin anew"
            ) from None
        return {**stacked([{"image": image} for image in images]), "index": torch.tensor(indices, dtype=torch.long)}


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


def device_views(views: Views, batch: dict[str, Any]) -> dict[str, Tensor]:
    """The view batch of a batch of `ViewBatches`, made on the device where that is now."""
    prepared = dict(batch)
    keys, seed = prepared.pop(KEYS), prepared.pop(_SEED)
    return views.batch(prepared, keys, torch.Generator(keys.device).manual_seed(seed))


def fit_square(image: np.ndarray, size: int) -> np.ndarray:
    """Resize the shorter side of an image (H, W, 3) uint8 to `size` pixels and cut the centre square.

    Shrinking averages over areas (no aliasing), enlarging is bilinear.
    """
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = image[top : top + side, left : left + side]
    if side == size:
        return square
    import cv2

    return cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA if side > size else cv2.INTER_LINEAR)


def whole_batch(batch: Any) -> Any:
    """Collate function for data sets whose `__getitems__` already made the batch."""
    return batch


def start_worker(_: int) -> None:
    """One thread in each worker: the workers are the parallelism. Only its parent ends it.

    Ctrl-C, and SIGTERM of a scheduler, reach all processes of a run; its parent finishes the step before it stops, and
    would fail in the midst of it if a worker ended first.
    """
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
