"""Head pose: 300W-LP for training, AFLW2000-3D for the test."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from tqdm import tqdm

from pcfrl_lightning.data.cropping.croppers import Cropper, LandmarkCrop, UprightCrop
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import FileSource
from pcfrl_lightning.data.releases.base import CroppedRelease
from pcfrl_lightning.data.releases.points import face_points, read_mat, real_numbers
from pcfrl_lightning.data.releases.release import files_of, find, inside, require_both
from pcfrl_lightning.errors import DataError

LARGEST_ANGLE = 99.0
"""Degrees; samples with any angle beyond are dropped, in training and test, as all published protocols do."""

ANGLES = ("yaw", "pitch", "roll")
FOLDERS = ("AFW", "AFW_Flip", "HELEN", "HELEN_Flip", "IBUG", "IBUG_Flip", "LFPW", "LFPW_Flip")
_PLACES = {"train": ("300W_LP", "300W-LP"), "test": ("AFLW2000", "AFLW2000-3D")}
_POINTS = {"train": "pt2d", "test": "pt3d_68"}
_OFFICIAL = {"AFW": 5207, "HELEN": 37676, "IBUG": 1786, "LFPW": 16556}
_VIEW = re.compile(r"(?:_\d+)?\.jpg$", re.IGNORECASE)  # <set>_<name>_<k>.jpg, k the number of the view
_AFLW_STEM = re.compile(r"image\d{5}")


class W300LP_AFLW2000(CroppedRelease):
    """Split `train` from 300W-LP, split `test` from AFLW2000-3D; label `pose` (n, 3), degrees, yaw, pitch, roll, and
    label `photo`, the same for all views of one photo.

    Yaw is positive towards the left side of the image, pitch upwards, roll where the eye on the right side of the image
    is the lower one.  Samples with an angle beyond 99 degrees are left out.  A split whose folder is absent is left
    out, too.

    Args:
        root: folder that holds `300W_LP` and `AFLW2000`, with image and `.mat` side by side.
        cropping: how to cut out the face, not `UprightCrop`; default `LandmarkCrop(0.25)`: a square of 1.5 times the
            longer side of the box of the 68 points (`pt2d` in 300W-LP; `pt3d_68` in AFLW2000, whose `pt2d` hides
            occluded points).
        kwargs: see `Release`.
    """

    name = "300w-lp-aflw2000"
    side = 256
    default_cropping = LandmarkCrop
    official: ClassVar = {
        "300W-LP": 2 * sum(_OFFICIAL.values()),
        **{f"300W-LP/{part}{flip}": count for part, count in _OFFICIAL.items() for flip in ("", "_Flip")},
        "AFLW2000": 2000,
        "test": 1969,
    }

    def unsuitable(self, cropping: Cropper) -> str:
        turns = isinstance(cropping, UprightCrop)
        return "head pose: UprightCrop would turn away the roll, which is a label" if turns else ""

    def build(self) -> dict[str, FaceSet]:
        find(self.root, [name for names in _PLACES.values() for name in names], "300W-LP or AFLW2000")
        return {split: self._split_of(split, folder) for split, folder in self._folders().items()}

    def inventory(self) -> dict[str, int]:
        """Images on disk before the 99-degree rule, by folder."""
        images = {split: _list(split, folder, ".jpg") for split, folder in self._folders().items()}
        found = {"300W-LP" if split == "train" else "AFLW2000": len(names) for split, names in images.items()}
        parts = Counter(name.partition("/")[0] for name in images.get("train", []))
        return {**found, **{f"300W-LP/{part}": parts[part] for part in FOLDERS if "train" in images}}

    def _folders(self) -> dict[str, Path]:
        found = {split: inside(self.root, name) or inside(self.root, other) for split, (name, other) in _PLACES.items()}
        return {split: folder for split, folder in found.items() if folder}

    def _split_of(self, split: str, folder: Path) -> FaceSet:
        image_of = {label: f"{label[:-4]}.jpg" for label in _list(split, folder, ".mat")}
        images = require_both(folder, _list(split, folder, ".jpg"), image_of, ".mat")
        angles = np.empty((len(images), 3), np.float32)
        points = np.zeros((len(images), 68, 2), np.float32)
        keys = ["Pose_Para", _POINTS[split]] if self.cropping.needs_landmarks else ["Pose_Para"]
        for i, image in enumerate(tqdm(images, desc=f"labels {self.name}/{split}", delay=2)):
            path = (folder / image).with_suffix(".mat")
            content = read_mat(path, keys)
            angles[i] = yaw_pitch_roll(content["Pose_Para"], path)
            if self.cropping.needs_landmarks:  # MATLAB counts pixels from 1
                points[i] = face_points(content[_POINTS[split]][:2].T, 68, path) - 1
        kept = np.flatnonzero((np.abs(angles) <= LARGEST_ANGLE).all(axis=1))
        names = [images[row] for row in kept.tolist()]
        labels = {"pose": angles[kept], "photo": photos(names)}
        return self.faces(split, FileSource(folder, names), labels, {"pose": ANGLES}, points[kept])


def photos(images: Sequence[str]) -> list[int]:
    """Number of the photo behind each image: 300W-LP turns and mirrors every photo many times."""
    numbers: dict[str, int] = {}
    stems = [_VIEW.sub("", Path(image).name).replace("_Flip", "") for image in images]
    return [numbers.setdefault(stem, len(numbers)) for stem in stems]


def _list(split: str, folder: Path, suffix: str) -> list[str]:
    """Files of a suffix relative to the folder; `Code` and `landmarks` hold other .mat files and are not looked at."""
    if split == "train":
        return files_of(folder, FOLDERS, [suffix])
    return [name for name in files_of(folder, ["."], [suffix]) if _AFLW_STEM.fullmatch(Path(name).stem)]


def yaw_pitch_roll(pose_para: np.ndarray, path: Path) -> np.ndarray:
    """Degrees (3,) yaw, pitch, roll of `Pose_Para` (1, 7) = pitch, yaw, roll in radians, translation, scale."""
    if pose_para.shape not in ((1, 7), (7, 1), (7,)):
        raise DataError(f"{path}: Pose_Para has shape {pose_para.shape}; expected (1, 7), the first three are angles")
    angles = real_numbers(pose_para, path, "Pose_Para is not made of numbers").ravel()[:3]
    if not np.isfinite(angles).all():
        raise DataError(f"{path}: Pose_Para must hold three finite angles, found {angles.tolist()}")
    pitch, yaw, roll = np.degrees(angles)
    return np.array([yaw, pitch, roll], np.float32)
