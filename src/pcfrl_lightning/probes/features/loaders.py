"""Batches of cached features: whole slices, no per-sample work, the same order for the same seed and epoch."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import torch
from torch import Tensor

from pcfrl_lightning.probes.features.store import FeatureTable
from pcfrl_lightning.probes.plan import Part

WINDOW_BYTES = 2**29
BLOCK = 64


class FeatureBatch(NamedTuple):
    """One step's worth of samples."""

    features: Tensor  # (B V, D), V images per sample one after the other
    targets: dict[str, Tensor]  # tensors with B rows
    members: Tensor  # (K, B) bool, which fold counts which sample


class FeatureBatches:
    """Iterable over `FeatureBatch`, from memory or straight from disk.

    Features in memory are shuffled freely.  A table on disk is read in windows of half a gigabyte, the next one while
    the current one is used; shuffling then permutes blocks of 64 neighbouring rows over the whole table and the rows
    within each window.  The last batch may be smaller.
    """

    def __init__(
        self,
        part: Part,  # the samples
        table: FeatureTable,  # features of its images, on disk
        loaded: Tensor | None,  # the same features in memory, on any device, or None to stream
        batch_size: int,
        shuffle: bool = False,  # whether the order changes with the epoch, by seed
        seed: int = 0,
        window_bytes: int = WINDOW_BYTES,
    ) -> None:
        # beside the features: a step copies nothing
        self.device = torch.device("cpu") if loaded is None else loaded.device
        self.part = part.to(self.device)
        self.rows = self.part.rows
        self.table, self.loaded = table, loaded
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        row_bytes = table.dim * table.dtype.itemsize * self.rows.shape[1]
        self.window = max(1, window_bytes // (row_bytes * batch_size)) * batch_size
        self.epoch = 0

    def __len__(self) -> int:
        return -(-len(self.rows) // self.batch_size)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[FeatureBatch]:
        # a generator throughout: the order is drawn at the first batch, when the epoch is known for sure
        order = self._order(torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch))
        if self.loaded is None:
            yield from self._from_disk(order)
            return
        for samples in order.to(self.device).split(self.batch_size):
            yield self._batch(self.loaded.index_select(0, self.rows[samples].flatten()), samples)

    def _order(self, generator: torch.Generator) -> Tensor:
        if not self.shuffle:
            return torch.arange(len(self.rows))
        if self.loaded is not None:
            return torch.randperm(len(self.rows), generator=generator)
        blocks = torch.arange(len(self.rows)).split(BLOCK)
        order = torch.cat([blocks[i] for i in torch.randperm(len(blocks), generator=generator)])
        windows = order.split(self.window)
        return torch.cat([window[torch.randperm(len(window), generator=generator)] for window in windows])

    def _from_disk(self, order: Tensor) -> Iterator[FeatureBatch]:
        windows = order.split(self.window)
        views = self.rows.shape[1]
        with ThreadPoolExecutor(1) as reader:
            following = reader.submit(self._read, windows[0])
            for number, window in enumerate(windows):
                buffer = following.result()
                if number + 1 < len(windows):
                    following = reader.submit(self._read, windows[number + 1])
                batches = zip(buffer.split(self.batch_size * views), window.split(self.batch_size), strict=True)
                yield from (self._batch(features, samples) for features, samples in batches)

    def _read(self, samples: Tensor) -> Tensor:
        return self.table.gather(self.rows[samples].flatten())

    def _batch(self, features: Tensor, samples: Tensor) -> FeatureBatch:
        return FeatureBatch(features.float(), self.part.targets_of(samples), self.part.members[:, samples])
