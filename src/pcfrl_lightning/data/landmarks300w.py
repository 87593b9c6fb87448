"""300-W: 68 landmarks of faces in the wild."""

from pathlib import Path

import numpy as np
import torch

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.landmark_faces import LandmarkFaces
from pcfrl_lightning.data.release import require_companions
from pcfrl_lightning.data.rows import read_rows
from pcfrl_lightning.data.sources import FileSource
from pcfrl_lightning.errors import DataError

POINTS = 68
EYE_CORNERS = (36, 45)
"""Outer eye corners: their distance is the inter-ocular distance of the usual error."""

SUBSETS = ("common", "challenging")

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
        labels = [path.with_suffix(".pts") for paths in images.values() for path in paths]
        require_companions(self.root, [path.relative_to(self.root).as_posix() for path in labels], ".pts files")
        return {split: self._split_of(split, paths) for split, paths in images.items()}

    def _images_of(self, folders: tuple[str, ...]) -> list[Path]:
        images = [path for folder in folders for path in _images(self.root / folder)]
        if not images:
            raise FileNotFoundError(f"no images under {self.root}; looked in {', '.join(folders)}")
        return images

    def _split_of(self, split: str, images: list[Path]) -> FaceSet:
        points = np.stack([read_pts(path.with_suffix(".pts")) for path in images])
        source = FileSource(self.root, [path.relative_to(self.root) for path in images])
        challenging = torch.tensor(["ibug" in path.parent.parts for path in images])
        conditions = torch.stack([~challenging, challenging], dim=1).float()
        return self.faces(split, source, points, {"conditions": conditions}, SUBSETS)


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    images = (path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".png"))
    return sorted(path for path in images if not path.stem.endswith("_mirror"))


def read_pts(path: Path) -> np.ndarray:
    """Landmarks (68, 2) of a `.pts` file, in pixels counted from 0 (the file counts from 1).

    Raises:
        FileNotFoundError: no such file.
        DataError: not 68 finite points; names file and line.
    """
    points = []
    inside = False
    for row in read_rows(path):
        if row.fields[0] in "{}":
            inside = row.fields[0] == "{"
        elif inside:
            row.expect(2)
            points.append((row.number_at(0) - 1, row.number_at(1) - 1))
    if len(points) != POINTS:
        raise DataError(f"{path}: expected {POINTS} points, found {len(points)}")
    return np.array(points)
