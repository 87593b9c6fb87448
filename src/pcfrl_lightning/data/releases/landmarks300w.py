"""300-W: 68 landmarks of faces in the wild; and what it shares with the other data sets of annotated landmarks."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np

from pcfrl_lightning.data.cropping.croppers import Cropper, LandmarkCrop
from pcfrl_lightning.data.cropping.geometry import in_crop
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.rows import read_rows
from pcfrl_lightning.data.images.sources import FileSource, ImageSource
from pcfrl_lightning.data.releases.base import CroppedRelease
from pcfrl_lightning.data.releases.points import face_points
from pcfrl_lightning.data.releases.release import files_of, require_both

POINTS = 68
SUBSETS = ("common", "challenging")
_FOLDERS = {
    "train": ("afw", "helen/trainset", "lfpw/trainset"),
    "test": ("helen/testset", "lfpw/testset", "ibug"),
}


class LandmarkFaces(CroppedRelease):
    """Base of data sets with the label `landmarks` (n, L, 2), in [0, 1] of the crop.

    The crop is a square around the annotated landmarks (`LandmarkCrop`): scale and place of the face are given to the
    method, also in the test; state the margin with a result.
    """

    side = 128
    default_cropping = LandmarkCrop
    cropping: LandmarkCrop

    def unsuitable(self, cropping: Cropper) -> str:
        if isinstance(cropping, LandmarkCrop):
            return ""
        other = type(cropping).__name__
        return f"{self.name} is cut by LandmarkCrop always, since the landmarks are the labels; not by {other}"

    def landmark_faces(
        self, split: str, source: ImageSource, points: np.ndarray, conditions: np.ndarray, names: Sequence[str]
    ) -> FaceSet:
        """One split: n whole images, points (n, L, 2) in their pixels, the label `conditions` and its names."""
        labels = {"landmarks": in_crop(points, self.cropping.squares(points)), "conditions": conditions}
        return self.faces(split, source, labels, {"conditions": names}, points)


class Landmarks300W(LandmarkFaces):
    """300-W; labels `landmarks` (n, 68, 2) in [0, 1] of the crop and `conditions` (n, 2) float 0/1, common and
    challenging (ibug).

    `root` holds `afw`, `helen`, `lfpw` and `ibug`, images with `.pts` files beside them.  Mirrored copies
    (`*_mirror.*`), which one common re-packed copy holds, are left out.
    """

    name = "300w"
    official: ClassVar = {"train": 3148, "test": 689}

    def build(self) -> dict[str, FaceSet]:
        deeper = self.root / self.root.name
        base = deeper if (deeper / "afw").is_dir() else self.root
        images, labels = {}, {}
        for split, folders in _FOLDERS.items():
            images[split] = _list(base, folders, [".jpg", ".png"])
            if not images[split]:
                raise FileNotFoundError(f"no images under {self.root}; looked in {', '.join(folders)}")
            for label in _list(base, folders, [".pts"]):
                labels[label] = f"{label[:-4]}{'.png' if label.startswith('lfpw') else '.jpg'}"  # as released
        both = set(require_both(base, [name for names in images.values() for name in names], labels, ".pts"))
        return {
            split: self._split_of(base, split, [name for name in names if name in both])
            for split, names in images.items()
        }

    def _split_of(self, base: Path, split: str, images: list[str]) -> FaceSet:
        points = np.reshape([read_pts((base / image).with_suffix(".pts")) for image in images], (-1, POINTS, 2))
        challenging = np.array([image.startswith("ibug/") for image in images], bool)
        conditions = np.stack([~challenging, challenging], axis=1).astype(np.float32)
        return self.landmark_faces(split, FileSource(base, images), points, conditions, SUBSETS)


def _list(root: Path, folders: Sequence[str], suffixes: Sequence[str]) -> list[str]:
    """See `files_of`; without mirrored copies."""
    return [name for name in files_of(root, folders, suffixes) if not name.rpartition(".")[0].endswith("_mirror")]


def read_pts(path: Path) -> np.ndarray:
    """Landmarks (68, 2) of a `.pts` file, in pixels counted from 0 (the file counts from 1)."""
    points = []
    inside_braces = False
    for row in read_rows(path):
        if row.fields[0] in "{}":
            inside_braces = row.fields[0] == "{"
        elif inside_braces:
            row.expect(2)
            points.append((row.number_at(0) - 1, row.number_at(1) - 1))
    return face_points(points, POINTS, path)
