"""Pair lists of face verification as rows of a FaceSet."""

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import torch

from pcfrl_lightning.data.cropping.croppers import Cropper
from pcfrl_lightning.data.faceset import FaceSet, Pairs
from pcfrl_lightning.data.images.rows import Row
from pcfrl_lightning.data.releases.release import ReleaseImages, require_images

FOLDS = 10


class NamedPair(NamedTuple):
    """One pair of a list: two image names, whether they show one person, the fold, and the lines that name them."""

    first: str
    second: str
    same: bool
    fold: int
    row: Row
    second_row: Row


def pair_set(
    pairs: Sequence[NamedPair],
    images: ReleaseImages,
    cropping: Cropper,
    name: str,
    landmarks: Callable[[list[str]], np.ndarray] | None = None,
) -> FaceSet:
    """The images that the pairs name, each once and sorted by name, with the pairs as row numbers.

    Args:
        pairs: of the list, in its order.
        images: of the release.
        cropping: how to cut out the faces.
        name: of the set.
        landmarks: image names to landmarks (n, L, 2), where the cropping needs them.

    Raises:
        DataError: the cropping needs landmarks and there are none.
        MissingImages: a pair names an image that is not there.
    """
    wanted = (named for pair in pairs for named in ((pair.row, pair.first), (pair.second_row, pair.second)))
    require_images(images, wanted)
    names = sorted({image for pair in pairs for image in (pair.first, pair.second)})
    row_of = {image: row for row, image in enumerate(names)}
    people = {person: number for number, person in enumerate(sorted({_person(image) for image in names}))}
    return FaceSet(
        cropping.apply(images.source(names), landmarks(names) if landmarks else None),
        {"identity": torch.tensor([people[_person(image)] for image in names], dtype=torch.long)},
        pairs=Pairs(
            torch.tensor([row_of[pair.first] for pair in pairs], dtype=torch.long),
            torch.tensor([row_of[pair.second] for pair in pairs], dtype=torch.long),
            torch.tensor([pair.same for pair in pairs], dtype=torch.bool),
            torch.tensor([pair.fold for pair in pairs], dtype=torch.long),
        ),
        name=name,
    )


def spread_over_folds(pairs: Sequence[NamedPair]) -> list[NamedPair]:
    """Ten folds where the list gives none: fold k holds the k-th tenth of the same-person pairs and of the others."""
    result = list(pairs)
    for same in (True, False):
        rows = [row for row, pair in enumerate(pairs) if pair.same == same]
        for place, row in enumerate(rows):
            result[row] = pairs[row]._replace(fold=place * FOLDS // len(rows))
    return result


def _person(image: str) -> str:
    """`A_B/A_B_0001.jpg` and `A_B_1.jpg` show A_B."""
    return PurePosixPath(image).stem.rpartition("_")[0]
