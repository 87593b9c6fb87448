"""Head pose: 300W-LP for training, AFLW2000-3D for the test."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pcfrl_lightning.data.cropping.croppers import Cropper, LandmarkCrop, UnsuitableCropping, UprightCrop
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.rows import first_existing
from pcfrl_lightning.data.images.sources import FileSource
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.releases.matfile import read_mat
from pcfrl_lightning.data.releases.points import face_points
from pcfrl_lightning.data.releases.release import require_both
from pcfrl_lightning.errors import DataError

LARGEST_ANGLE = 99.0
"""Degrees; samples with any angle beyond are dropped, in training and test, as all published protocols do."""

FOLDERS = ("AFW", "AFW_Flip", "HELEN", "HELEN_Flip", "IBUG", "IBUG_Flip", "LFPW", "LFPW_Flip")
_VIEW = re.compile(r"(?:_\d+)?\.jpg$")  # <set>_<name>_<k>.jpg, k the number of the view
_AFLW_STEM = re.compile(r"image\d{5}")


class W300LP_AFLW2000(FaceData):
    """Split `train` from 300W-LP, split `test` from AFLW2000-3D; label `pose` (n, 3), degrees, yaw, pitch, roll,
    and label `photo`, the same for all views of one photo.

    Yaw is positive towards the left side of the image, pitch upwards, roll where the eye on the right side of the
    image is the lower one.  Samples with an angle beyond 99 degrees are left out.  A split whose folder is absent is
    left out, too.

    Args:
        root: folder that holds `300W_LP` and `AFLW2000`, with image and `.mat` side by side.
        cropping: how to cut out the face; default `LandmarkCrop(0.25)`: a square of 1.5 times the longer side of the
            box of the 68 points (`pt2d` in 300W-LP; `pt3d_68` in AFLW2000, whose `pt2d` hides occluded points).
        image_size: side of the images in pixels.
        kwargs: see `FaceData`.

    Raises:
        UnsuitableCropping: `UprightCrop`.
    """

    name = "300w-lp-aflw2000"

    def __init__(self, root: str | Path, cropping: Cropper | None = None, image_size: int = 256, **kwargs: Any) -> None:
        super().__init__(root, image_size=image_size, **kwargs)
        if isinstance(cropping, UprightCrop):
            raise UnsuitableCropping("head pose: UprightCrop would turn away the roll, which is a label")
        self.cropping = cropping or LandmarkCrop()

    def build(self) -> dict[str, FaceSet]:
        """The splits whose folders exist."""
        folders = {"train": ["300W_LP", "300W-LP"], "test": ["AFLW2000", "AFLW2000-3D"]}
        lists = {"train": list_300w_lp, "test": list_aflw2000}
        points = {"train": "pt2d", "test": "pt3d_68"}
        found = {split: [name for name in names if (self.root / name).is_dir()] for split, names in folders.items()}
        if not any(found.values()):
            first_existing(self.root, [name for names in folders.values() for name in names], "300W-LP or AFLW2000")
        return {
            split: self._split_of(split, self.root / names[0], lists[split], points[split])
            for split, names in found.items()
            if names
        }

    def inventory(self) -> dict[str, int]:
        """Images on disk before the 99-degree rule, by folder."""
        found: dict[str, int] = {}
        for folder in (path for path in (self.root / "300W_LP", self.root / "300W-LP") if path.is_dir()):
            images = list_300w_lp(folder)
            found["300W-LP"] = len(images)
            for part in FOLDERS:
                found[f"300W-LP/{part}"] = sum(image.startswith(f"{part}/") for image in images)
        for folder in (path for path in (self.root / "AFLW2000", self.root / "AFLW2000-3D") if path.is_dir()):
            found["AFLW2000"] = len(list_aflw2000(folder))
        return found

    def _split_of(self, split: str, folder: Path, files: Callable[..., list[str]], points_key: str) -> FaceSet:
        from tqdm import tqdm

        image_of = {label: f"{label.removesuffix('.mat')}.jpg" for label in files(folder, ".mat")}
        images = require_both(folder, files(folder), image_of, ".mat")
        angles = np.empty((len(images), 3), np.float32)
        points = np.zeros((len(images), 68, 2), np.float32)
        labels = [f"{image.removesuffix('.jpg')}.mat" for image in images]
        keys = ["Pose_Para", points_key] if self.cropping.needs_landmarks else ["Pose_Para"]
        for i, label in enumerate(tqdm(labels, desc=f"labels {self.name}/{split}", delay=2)):
            path = folder / label
            content = read_mat(path, keys)
            angles[i] = yaw_pitch_roll(content["Pose_Para"], path)
            if self.cropping.needs_landmarks:
                points[i] = _points(content[points_key], path)
        kept = np.flatnonzero((np.abs(angles) <= LARGEST_ANGLE).all(axis=1))
        source = FileSource(folder, [images[row] for row in kept.tolist()])
        return FaceSet(
            self.cropping.apply(source, points[kept] if self.cropping.needs_landmarks else None),
            {"pose": torch.from_numpy(angles[kept]), "photo": photos([images[row] for row in kept.tolist()])},
            name=f"{self.name}/{split}",
            class_names={"pose": ["yaw", "pitch", "roll"]},
        )


def photos(images: Sequence[str]) -> torch.Tensor:
    """Number of the photo behind each image, (n,) long: 300W-LP turns and mirrors every photo many times."""
    stems = [_VIEW.sub("", Path(image).name).replace("_Flip", "") for image in images]
    numbers = {stem: number for number, stem in enumerate(dict.fromkeys(stems))}
    return torch.tensor([numbers[stem] for stem in stems], dtype=torch.long)


def list_300w_lp(folder: Path, suffix: str = ".jpg") -> list[str]:
    """Images, or files of another suffix, of 300W-LP relative to its folder; `Code` and `landmarks` hold other .mat
    files and are not looked at."""
    return [f"{part}/{path.name}" for part in FOLDERS for path in sorted((folder / part).glob(f"[!.]*{suffix}"))]


def list_aflw2000(folder: Path, suffix: str = ".jpg") -> list[str]:
    """Images `image<5 digits>.jpg`, or files of another suffix, of AFLW2000."""
    found = (path for path in folder.iterdir() if path.suffix == suffix)
    return sorted(path.name for path in found if _AFLW_STEM.fullmatch(path.stem))


def yaw_pitch_roll(pose_para: np.ndarray, path: Path) -> np.ndarray:
    """Degrees (3,) yaw, pitch, roll of `Pose_Para` (1, 7) = pitch, yaw, roll in radians, translation, scale.

    Raises:
        DataError: another shape, or an angle that is not finite; names the file.
    """
    if pose_para.size < 3 or not np.isfinite(pose_para.ravel()[:3]).all():
        raise DataError(f"{path}: Pose_Para must hold three finite angles, found {pose_para.ravel()[:3].tolist()}")
    pitch, yaw, roll = np.degrees(pose_para.ravel()[:3].astype(np.float64))
    return np.array([yaw, pitch, roll], np.float32)


def _points(points: np.ndarray, path: Path) -> np.ndarray:
    return face_points(points[:2].T, 68, path) - 1  # MATLAB counts pixels from 1
