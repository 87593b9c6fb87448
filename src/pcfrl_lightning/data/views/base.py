"""The seam between images and the views a contrastive module trains on (method, section 2)."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

VIEW_NAMES = ("source", "target", "face_1", "face_2", "pose_1", "pose_2")


class Views(ABC):
    """Turns images into view batches.

    A view batch is a dict of float32 tensors (N, 3, S, S) in [0, 1]: `source` (s), `target` (s_hat), `face_1`,
    `face_2`, `pose_1`, `pose_2` and, for some recipes, `pose_negatives` (N, K, 3, S, S).  The work may be split freely
    between `sample`, which runs in the workers of the loader, and `batch`, which runs on the training device.  Both get
    their randomness as an argument and use no other: the same batch then has the same views with any number of workers
    and after a resume.  `image_size` is the side S in pixels, where the object fixes it.
    """

    image_size: int | None = None
    pictures: int = 1
    """How many pictures of an item `sample_item` takes: more than one where an item stands for several (a video)."""
    stored: bool = False
    """Whether `sample` makes the same of an image every time, so that it can stay on the device for `batch`."""

    def use_size(self, image_size: int) -> None:
        """Called by the data module, whose size views take that fix none of their own; another size is a ValueError."""
        if self.image_size not in (None, image_size):
            raise ValueError(f"image_size is {image_size} but views.image_size is {self.image_size}; make them equal")
        self.image_size = image_size

    def use_device(self, device: torch.device) -> str:
        """Called by the data module before training, with the device that trains; returns which views these are, for
        the log."""
        return type(self).__name__

    @property
    def side(self) -> int:
        """Side S in pixels; raises ValueError while neither the yaml nor a data module has set it."""
        if self.image_size is None:
            raise ValueError("views.image_size is not set; give it, or put the views into a data module")
        return self.image_size

    @abstractmethod
    def sample(self, image: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Worker side, one image (H, W, 3) uint8 RGB of any size.

        Returns arrays (h, w, 3) or (K, h, w, 3), uint8, of the same shape for every image unless `collate` brings them
        to one.  ``rng`` is the only source of randomness, seeded from (seed, epoch, index of the image).
        """

    def sample_item(self, images: Sequence[np.ndarray], rng: np.random.Generator, place: int) -> dict[str, np.ndarray]:
        """What `sample` returns, from ``pictures`` pictures of an item, each drawn anew. ``place`` is the item's in its
        batch, from 0: arrays that only the first items have are stacked for these alone."""
        return self.sample(images[0], rng)

    def collate(self, samples: Sequence[dict[str, np.ndarray]]) -> dict[str, Tensor]:
        """Worker side, a batch: what `sample` returned for its images, as uint8 tensors (N, ..., 3, h, w)."""
        return stacked(samples)

    def batch(self, batch: dict[str, Tensor], keys: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Device side, after the transfer: from what `collate` returned, uint8 (N, ..., 3, h, w), to the view batch.

        ``keys`` (N, 2) long are epoch and index of every image.  ``generator``, on the device of the batch, is the only
        source of randomness; its seed differs from batch to batch and from rank to rank, and is the same after a
        resume.
        """
        return {name: value.float().div_(255.0) for name, value in batch.items()}

    def make(
        self,
        images: Sequence[np.ndarray],
        keys: Sequence[tuple[int, int]],
        seed: Sequence[int] = (0,),
        device: torch.device | str = "cpu",
    ) -> dict[str, Tensor]:
        """The view batch of images (as for `sample`) outside of a loader; ``keys`` are their epochs and indices.

        ``seed`` holds the first numbers of every seed, ``device`` is where `batch` runs.
        """
        pairs = zip(images, keys, strict=True)
        samples = [self.sample(image, np.random.default_rng([*seed, *key])) for image, key in pairs]
        moved = {name: value.to(device) for name, value in self.collate(samples).items()}
        generator = torch.Generator(device).manual_seed(batch_seed(*seed, *keys[0]))
        return self.batch(moved, torch.tensor(keys, device=device), generator)


def batch_seed(*numbers: int) -> int:
    """Seed of a batch on the device: an image is in one batch of an epoch, on one rank, so its key stands for these."""
    return int(np.random.SeedSequence([*numbers, 1]).generate_state(1, np.uint64)[0] >> 1)


def stacked(samples: Sequence[Mapping[str, np.ndarray]]) -> dict[str, Tensor]:
    """Samples of N images, (..., h, w, 3) each, as contiguous tensors (N, ..., 3, h, w) by name; where only the first n
    samples have an array, (n, ..., 3, h, w)."""
    arrays = {name: np.stack([sample[name] for sample in samples if name in sample]) for name in samples[0]}
    return {name: torch.from_numpy(np.moveaxis(array, -1, -3).copy()) for name, array in arrays.items()}
