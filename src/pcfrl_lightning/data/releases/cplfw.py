"""CPLFW: cross-pose LFW, 6,000 pairs in ten folds."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from pcfrl_lightning.data.cropping.geometry import FIVE_POINTS
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.rows import TextPath, read_rows
from pcfrl_lightning.data.releases.base import CroppedRelease
from pcfrl_lightning.data.releases.pairs import FOLDS, NamedPair, official_pairs, pair_set, spread_over_folds
from pcfrl_lightning.data.releases.points import read_point_files
from pcfrl_lightning.data.releases.release import find, inside, open_images
from pcfrl_lightning.errors import DataError


class CPLFW(CroppedRelease):
    """CPLFW, one split `test` with the images of `pairs_CPLFW.txt`, `pairs` and the label `identity`.

    Args:
        root: holds `pairs_CPLFW.txt`, `images/` and `aligned images/` (either folder may be a zip of its name).
        folder: `images` or `aligned images`; `UprightCrop` and `LandmarkCrop` need `images`, which holds the landmarks.
        kwargs: see `CroppedRelease`.
    """

    name = "cplfw"
    side = 128
    official = official_pairs(None)

    def __init__(self, root: str | Path, folder: str = "aligned images", **kwargs: Any) -> None:
        if folder != "images":
            self.no_landmarks = f"CPLFW has landmarks for folder 'images' only, not for {folder!r}"
        super().__init__(root, **kwargs)
        self.folder = folder

    def build(self) -> dict[str, FaceSet]:
        listing = find(self.root, ["pairs_CPLFW.txt"], "pair list of CPLFW")
        release = open_images(self.root, [self.folder])
        return {"test": pair_set(self, read_two_line_pairs(listing), release, self._landmarks)}

    def _landmarks(self, names: list[str]) -> np.ndarray:
        """The five points (n, 5, 2) of each image, from files beside the images or in their archive."""
        texts: TextPath | None = inside(self.root, self.folder)
        if texts is None:
            archive = zipfile.Path(find(self.root, [f"{self.folder}.zip"], "landmark files"))
            texts = wrapped if (wrapped := archive / f"{self.folder}/").exists() else archive
        files = [f"{Path(name).stem}_5loc_attri.txt" for name in names]
        return read_point_files(texts, files, FIVE_POINTS)


def read_two_line_pairs(path: Path) -> list[NamedPair]:
    """Pairs of two lines `<image> <label>` each, without header; label 1 = same person, 0 = different.

    Folds are not contiguous: fold k holds the k-th tenth of the same-person pairs and the k-th tenth of the others.
    """
    rows = list(read_rows(path))
    if len(rows) % 2:
        rows[-1].fail("a pair has two lines, but the last one stands alone")
    pairs = []
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        same, other = first.integer(1, 0, 1), second.integer(1, 0, 1)
        if same != other:
            second.fail(f"label {other} differs from {same} in the first line of the pair")
        pairs.append(NamedPair(first.relative(0), second.relative(0), same == 1, 0, first, second))
    same = sum(pair.same for pair in pairs)
    if same % FOLDS or (len(pairs) - same) % FOLDS or not 0 < same < len(pairs):
        raise DataError(f"{path}: {same} of {len(pairs)} pairs are of one person; expected two multiples of {FOLDS}")
    return spread_over_folds(pairs)
