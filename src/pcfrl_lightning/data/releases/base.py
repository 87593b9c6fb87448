"""What all published data sets share: sizes, the choice of a cropping, and how a split is put together."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning.data.cropping.croppers import Cropper, NoCrop, UnsuitableCropping
from pcfrl_lightning.data.faceset import FaceSet, Pairs
from pcfrl_lightning.data.images.sources import ImageSource
from pcfrl_lightning.data.module import FaceData


class Release(FaceData):
    """Base of the published data sets.  A subclass sets `name`, implements `build`, and is then found by that name.

    `side`, the default of `image_size`, is that of the usual evaluation; `official` holds the published sizes, which
    `pcfrl data check` compares with (None where no number is at hand), by `<split>`, `<split>/<class>`,
    `<split>/pairs`, `<split>/same pairs`, `<split>/fold <k> pairs`, `<split>/subject <k>`, and whatever a method
    `inventory` counts.
    """

    official: ClassVar[Mapping[str, int | None]] = {}

    def faces(
        self,
        split: str,
        source: ImageSource,
        labels: Mapping[str, Any],
        class_names: Mapping[str, Sequence[str]] | None = None,
        landmarks: Any = None,
        pairs: Pairs | None = None,
    ) -> FaceSet:
        """One split, cut to the faces.

        Args:
            split: its name.
            source: n images.
            labels: tensors or arrays of n rows, or lists of n integers.
            class_names: see `FaceSet`.
            landmarks: (n, L, 2) pixels, or a function that gives them; used where the cropping needs them.
            pairs: for verification.
        """
        tensors = {
            key: torch.tensor(value, dtype=torch.long) if isinstance(value, list) else torch.as_tensor(value)
            for key, value in labels.items()
        }
        source = self.cut(source, landmarks)
        return FaceSet(source, tensors, name=f"{self.name}/{split}", class_names=class_names, pairs=pairs)

    def cut(self, source: ImageSource, landmarks: Any) -> ImageSource:
        """The faces of some images: here the images as they are."""
        return source

    def without_fold(self, everything: FaceSet, tested: Tensor, fold: int) -> dict[str, FaceSet]:
        """Split `test` with the rows where `tested` (n,) is True, split `train` with the others."""
        splits = {}
        for split, rows in (("train", ~tested), ("test", tested)):
            splits[split] = everything.subset(rows.nonzero()[:, 0])
            splits[split].name = f"{self.name}/fold{fold}-{split}"
        return splits


class CroppedRelease(Release):
    """Base of the data sets whose faces can be cut out of their images; UnsuitableCropping tells why not in this way.

    Args:
        root: folder of the release.
        cropping: how to cut out the face; default: `default_cropping`.
        kwargs: see `Release`.
    """

    default_cropping: ClassVar[type[Cropper]] = NoCrop
    no_landmarks: str = ""
    """Why there are no landmarks to crop by; empty where there are."""

    def __init__(self, root: str | Path, cropping: Cropper | None = None, **kwargs: Any) -> None:
        super().__init__(root, **kwargs)
        self.cropping = cropping or self.default_cropping()
        if reason := self.unsuitable(self.cropping):
            raise UnsuitableCropping(reason)

    def unsuitable(self, cropping: Cropper) -> str:
        """Why a cropping does not suit this data set; empty where it does."""
        return self.no_landmarks if cropping.needs_landmarks else ""

    def cut(self, source: ImageSource, landmarks: Any) -> ImageSource:
        if not len(source):  # told as an empty split
            return source
        points = landmarks if self.cropping.needs_landmarks else None
        points = points() if callable(points) else points
        return self.cropping.apply(source, None if points is None else np.asarray(points, np.float32))


def by_class(split: str, classes: Sequence[str], counts: Sequence[int]) -> dict[str, int]:
    """Entries of `Release.official` for one split: its size and that of each class."""
    return {split: sum(counts), **{f"{split}/{name}": count for name, count in zip(classes, counts, strict=True)}}
