"""One split of a data set: images, labels and, for verification, pairs of images."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from pcfrl_lightning.data.images.sources import ImageSource, SubsetSource, digest
from pcfrl_lightning.errors import DataError


class Pairs(NamedTuple):
    """Pairs of images to be verified, (P,) each: rows of the two images, whether both show one person, fold of
    cross-validation.
    """

    first: Tensor
    second: Tensor
    same: Tensor
    fold: Tensor


class FaceSet(Dataset[np.ndarray]):
    """One split of a data set.

    Args:
        source: n images.
        labels: tensors with n rows.  Conventional keys: `expression`, `identity`, `subject`, `fold`, `class`,
            `pose_class` (n,) long; `action_units` (n, A) float 0/1; `au_intensity` (n, A); `pose` (n, 3) float32
            degrees in the order yaw, pitch, roll; `attributes` (n, 40); `landmarks` (n, L, 2) float32 in [0, 1] of the
            final crop.
        pairs: pairs of rows for verification.
        name: for messages, such as `fer2013/test`.
        class_names: by label, the names of its values 0, 1, ... (a class label) or of its columns.
        unusable: why the data has no such label, by the name that one may ask for; for messages.

    Raises:
        DataError: a label with another number of rows, or pairs out of range.
    """

    def __init__(
        self,
        source: ImageSource,
        labels: dict[str, Tensor] | None = None,
        *,
        pairs: Pairs | None = None,
        name: str = "faces",
        class_names: Mapping[str, Sequence[str]] | None = None,
        unusable: Mapping[str, str] | None = None,
    ) -> None:
        self.source, self.pairs, self.name = source, pairs, name
        self.labels = dict(labels or {})
        self.class_names = {label: list(names) for label, names in (class_names or {}).items()}
        self.unusable = dict(unusable or {})
        for key, value in self.labels.items():
            if len(value) != len(source):
                raise DataError(f"{name}: label '{key}' has {len(value)} rows for {len(source)} images")
        if pairs is not None and len(pairs.first):
            rows = torch.cat([pairs.first, pairs.second])
            if int(rows.min()) < 0 or int(rows.max()) >= len(source):
                raise DataError(f"{name}: pairs refer to rows outside 0..{len(source) - 1}")

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self.image(index)

    def image(self, index: int) -> np.ndarray:
        """Image `index` as (H, W, 3) uint8 RGB.  Raises CorruptImage."""
        return self.source.read(index)

    def draw(self, index: int, rng: np.random.Generator) -> np.ndarray:
        """Like `image`; where an item stands for several images (a video), one of them at random."""
        return self.source.draw(index, rng)

    def subset(self, indices: Sequence[int] | Tensor) -> "FaceSet":
        """The set reduced to some rows, without repeats; labels follow, pairs that lose an image are dropped."""
        rows = torch.as_tensor(indices, dtype=torch.long)
        part = copy(self)
        part.source = SubsetSource(self.source, rows.tolist())
        part.labels = {key: value[rows] for key, value in self.labels.items()}
        part.pairs = None if self.pairs is None else _renumber(self.pairs, rows, len(self))
        return part

    def fingerprint(self) -> str:
        """SHA-256 (hex) over the source, the labels and the pairs."""
        parts = [self.source.fingerprint(), ""]
        pairs = {} if self.pairs is None else self.pairs._asdict()
        tensors = {**self.labels, **{f"pairs.{key}": value for key, value in pairs.items()}}
        for key in sorted(tensors):
            value = tensors[key].contiguous()
            values = value.view(-1).view(torch.uint8).numpy().tobytes().hex()
            parts += [key, str(value.dtype), str(tuple(value.shape)), digest([values])]
        return digest(parts)


def _renumber(pairs: Pairs, rows: Tensor, total: int) -> Pairs:
    position = torch.full((total,), -1, dtype=torch.long)
    position[rows] = torch.arange(len(rows))
    first, second = position[pairs.first], position[pairs.second]
    kept = (first >= 0) & (second >= 0)
    return Pairs(first[kept], second[kept], pairs.same[kept], pairs.fold[kept])
