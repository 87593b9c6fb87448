"""CPLFW: cross-pose LFW, 6,000 pairs in ten folds."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from pcfrl_lightning.data.cropping.croppers import Cropper, NoCrop, UnsuitableCropping
from pcfrl_lightning.data.cropping.geometry import FIVE_POINTS
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.rows import TextPath, first_existing, read_rows
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.releases.pairs import FOLDS, NamedPair, pair_set, spread_over_folds
from pcfrl_lightning.data.releases.points import face_points
from pcfrl_lightning.data.releases.release import open_images, require_companions
from pcfrl_lightning.errors import DataError


class CPLFW(FaceData):
    """CPLFW, one split `test` with the images of `pairs_CPLFW.txt`, `pairs` and the label `identity`.

    Args:
        root: the release: `pairs_CPLFW.txt`, `images/` and `aligned images/` (either folder may be a zip of its name,
            with the landmark files of `images` in it).
        cropping: how to cut out the face.  `UprightCrop` and `LandmarkCrop` read `images/<name>_5loc_attri.txt` and
            need `folder: images`.
        folder: `images` or `aligned images`.
        image_size: side of the images in pixels.
        kwargs: see `FaceData`.

    Raises:
        UnsuitableCropping: a cropping by landmarks with another folder than `images`.
    """

    name = "cplfw"

    def __init__(
        self,
        root: str | Path,
        cropping: Cropper | None = None,
        folder: str = "aligned images",
        image_size: int = 128,
        **kwargs: Any,
    ) -> None:
        super().__init__(root, image_size=image_size, **kwargs)
        self.cropping = cropping or NoCrop()
        self.folder = folder
        if self.cropping.needs_landmarks and folder != "images":
            raise UnsuitableCropping(f"CPLFW has landmarks for folder 'images' only, not for {folder!r}")

    def build(self) -> dict[str, FaceSet]:
        """The split `test`."""
        listing = first_existing(self.root, ["pairs_CPLFW.txt"], "pair list of CPLFW")
        release = open_images(self.root, [self.folder], [f"{self.folder}.zip"])
        points = self._landmarks if self.cropping.needs_landmarks else None
        return {"test": pair_set(read_two_line_pairs(listing), release, self.cropping, f"{self.name}/test", points)}

    def _landmarks(self, names: list[str]) -> np.ndarray:
        """The five points (n, 5, 2) of each image."""
        result = np.zeros((len(names), FIVE_POINTS, 2), np.float32)
        texts = self._texts()
        files = [f"{Path(name).stem}_5loc_attri.txt" for name in names]
        found = {entry.name for entry in texts.iterdir()}
        for i, there in enumerate(require_companions(texts, files, "landmark files", found)):
            if there:
                points = [[row.number_at(0), row.number_at(1)] for row in read_rows(texts / files[i])]
                result[i] = face_points(points, FIVE_POINTS, texts / files[i])
        return result

    def _texts(self) -> TextPath:
        """Where the landmark files lie: beside the images, in the folder or in the archive."""
        folder = self.root / self.folder
        if folder.is_dir():
            return folder
        archive = zipfile.Path(folder.with_name(f"{folder.name}.zip"))
        wrapped = archive / f"{folder.name}/"
        return wrapped if wrapped.exists() else archive


def read_two_line_pairs(path: Path) -> list[NamedPair]:
    """Pairs of two lines `<image> <label>` each, without header; label 1 = same person, 0 = different.

    Folds are not contiguous: fold k holds the k-th tenth of the same-person pairs and the k-th tenth of the others.

    Raises:
        DataError: an odd number of lines, two labels in one pair, or kinds that do not split into ten; names the line.
    """
    rows = list(read_rows(path))
    if len(rows) % 2:
        rows[-1].fail("a pair has two lines, but the last one stands alone")
    pairs: list[NamedPair] = []
    for first, second in zip(rows[::2], rows[1::2], strict=True):
        labels = [row.integer(1, 0, 1) for row in (first, second)]
        if labels[0] != labels[1]:
            second.fail(f"label {labels[1]} differs from {labels[0]} in the first line of the pair")
        pairs.append(NamedPair(first.relative(0), second.relative(0), labels[0] == 1, 0, first, second))
    same = sum(pair.same for pair in pairs)
    if same % FOLDS or (len(pairs) - same) % FOLDS or not 0 < same < len(pairs):
        raise DataError(f"{path}: {same} of {len(pairs)} pairs are of one person; expected two multiples of {FOLDS}")
    return spread_over_folds(pairs)
