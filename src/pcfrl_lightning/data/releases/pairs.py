"""Pair lists of face verification as rows of a FaceSet."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import torch

from pcfrl_lightning.data.faceset import FaceSet, Pairs
from pcfrl_lightning.data.images.rows import Row
from pcfrl_lightning.data.releases.base import Release
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
    data: Release,
    pairs: Sequence[NamedPair],
    images: ReleaseImages,
    landmarks: Callable[[list[str]], np.ndarray] | None = None,
) -> FaceSet:
    """The split `test` of the images that the pairs name, each once and sorted by name, with the pairs as row numbers.

    `landmarks` gives those (n, L, 2) of some images, where the release has any.
    """
    first, second, same, fold, *_ = zip(*pairs, strict=True)
    wanted = (named for pair in pairs for named in ((pair.row, pair.first), (pair.second_row, pair.second)))
    require_images(images, wanted)
    names, numbers = np.unique([first, second], return_inverse=True)
    rows = torch.from_numpy(numbers).view(2, -1)
    persons = [PurePosixPath(image).stem.rpartition("_")[0] for image in names]  # of A_B/A_B_0001.jpg and A_B_1.jpg
    return data.faces(
        "test",
        images.source(names.tolist()),
        {"identity": np.unique(persons, return_inverse=True)[1]},
        landmarks=(lambda: landmarks(names.tolist())) if landmarks else None,
        pairs=Pairs(rows[0], rows[1], torch.tensor(same), torch.tensor(fold)),
    )


def spread_over_folds(pairs: Sequence[NamedPair]) -> list[NamedPair]:
    """Ten folds where the list gives none: fold k holds the k-th tenth of the same-person pairs and of the others."""
    total = Counter(pair.same for pair in pairs)
    places = {True: count(), False: count()}
    return [pair._replace(fold=next(places[pair.same]) * FOLDS // total[pair.same]) for pair in pairs]


def official_pairs(images: int | None) -> dict[str, int | None]:
    """`Release.official` of a list of 6,000 pairs."""
    folds = {f"test/fold {fold} pairs": 600 for fold in range(FOLDS)}
    return {"test": images, "test/pairs": 6000, "test/same pairs": 3000, **folds}
