"""300-W: 68 landmarks of faces in the wild."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.rows import read_rows
from pcfrl_lightning.data.images.sources import FileSource
from pcfrl_lightning.data.releases.landmark_faces import LandmarkFaces
from pcfrl_lightning.data.releases.points import face_points
from pcfrl_lightning.data.releases.release import require_both

POINTS = 68
EYE_CORNERS = (36, 45)
"""Outer eye corners: their distance is the inter-ocular distance of the usual error."""

SUBSETS = ("common", "challenging")

_IMAGE_SUFFIXES = (".jpg", ".png")
_FOLDERS = {
    "train": ("afw", "helen/trainset", "lfpw/trainset"),
    "test": ("helen/testset", "lfpw/testset", "ibug"),
}


class Landmarks300W(LandmarkFaces):
    """300-W: 3,148 train and 689 test images; labels `landmarks` (n, 68, 2) in [0, 1] of the crop and `conditions`
    (n, 2) float 0/1, common and challenging (ibug).

    Reads images with `.pts` files beside them.  Mirrored copies (`*_mirror.*`), which one common re-packed copy holds,
    are left out.

    Args: see `LandmarkFaces`; `root` is the folder that holds `afw`, `helen`, `lfpw` and `ibug`.
    """

    name = "300w"

    def build(self) -> dict[str, FaceSet]:
        """Splits `train` and `test` (common and challenging)."""
        images = {split: self._images_of(folders) for split, folders in _FOLDERS.items()}
        everything = [image for names in images.values() for image in names]
        labelled = set(require_both(self.root, everything, self._images_of_labels(), ".pts"))
        return {split: self._split_of(split, [n for n in names if n in labelled]) for split, names in images.items()}

    def _images_of(self, folders: tuple[str, ...]) -> list[str]:
        images = [name for folder in folders for name in _list(self.root, folder, _IMAGE_SUFFIXES)]
        if not images:
            raise FileNotFoundError(f"no images under {self.root}; looked in {', '.join(folders)}")
        return images

    def _images_of_labels(self) -> dict[str, str]:
        """The official image name of every label file."""
        labels = [name for folders in _FOLDERS.values() for folder in folders for name in _list(self.root, folder)]
        return {label: f"{label[:-4]}{'.png' if label.startswith('lfpw') else '.jpg'}" for label in labels}

    def _split_of(self, split: str, images: list[str]) -> FaceSet:
        points = [read_pts((self.root / image).with_suffix(".pts")) for image in images]
        source = FileSource(self.root, images)
        challenging = torch.tensor([image.startswith("ibug/") for image in images], dtype=torch.bool)
        conditions = torch.stack([~challenging, challenging], dim=1).float()
        return self.faces(split, source, np.reshape(points, (-1, POINTS, 2)), {"conditions": conditions}, SUBSETS)


def _list(root: Path, folder: str, suffixes: Sequence[str] = (".pts",)) -> list[str]:
    """Files of a folder, relative to the root, without mirrored copies and hidden files."""
    if not (root / folder).is_dir():
        return []
    found = (path for path in (root / folder).iterdir() if path.suffix.lower() in suffixes)
    kept = (path for path in found if not path.stem.endswith("_mirror") and not path.name.startswith("."))
    return [f"{folder}/{path.name}" for path in sorted(kept)]


def read_pts(path: Path) -> np.ndarray:
    """Landmarks (68, 2) of a `.pts` file, in pixels counted from 0 (the file counts from 1).

    Raises:
        FileNotFoundError: no such file.
        DataError: not 68 points of a face; names the file, and the line where one is no number.
    """
    points = []
    inside = False
    for row in read_rows(path):
        if row.fields[0] in "{}":
            inside = row.fields[0] == "{"
        elif inside:
            row.expect(2)
            points.append((row.number_at(0) - 1, row.number_at(1) - 1))
    return face_points(points, POINTS, path)
