"""300W-LP and AFLW2000 as packed arrays, the derived form that the public PCL and FSA-Net code reads."""

import zipfile
import zlib
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import ArraySource, ConcatSource
from pcfrl_lightning.data.images.zips import check_growth
from pcfrl_lightning.data.releases.base import Release
from pcfrl_lightning.data.releases.points import real_numbers
from pcfrl_lightning.data.releases.release import inside
from pcfrl_lightning.data.releases.w300lp import ANGLES, LARGEST_ANGLE
from pcfrl_lightning.errors import DataError


class PoseArrays(Release):
    """`.npz` files with `image` (N, H, W, 3) uint8 and `pose` (N, 3), degrees, yaw, pitch, roll; label `pose`.

    Samples with an angle beyond 99 degrees are left out.  All images are held in memory.

    Args:
        root: folder of the two parts.
        train: folder of `.npz` files, or one file, relative to the root.
        test: the same for the test split.
        channels: order of the colours; arrays written with OpenCV, such as FSA-Net's, are `bgr`.
        kwargs: see `Release`.
    """

    name = "pose-arrays"
    side = 256

    def __init__(
        self,
        root: str | Path,
        train: str = "300W_LP",
        test: str = "AFLW2000",
        channels: Literal["rgb", "bgr"] = "bgr",
        **kwargs: Any,
    ) -> None:
        super().__init__(root, **kwargs)
        self.train, self.test, self.channels = train, test, channels

    def build(self) -> dict[str, FaceSet]:
        return {split: self._split_of(split, part) for split, part in (("train", self.train), ("test", self.test))}

    def _split_of(self, split: str, part: str) -> FaceSet:
        path = inside(self.root, part) or self.root / part
        files = [path] if path.is_file() else sorted(path.glob("[!.]*.npz"))
        if not files:
            raise FileNotFoundError(f"no .npz files at {path}")
        sources, poses = zip(*(self._read(file) for file in files), strict=True)
        return self.faces(split, ConcatSource(sources), {"pose": np.concatenate(poses)}, {"pose": ANGLES})

    def _read(self, path: Path) -> tuple[ArraySource, np.ndarray]:
        """Images and angles of one file, without the angles beyond the limit; images are named by file and row."""
        try:
            with zipfile.ZipFile(path) as archive:
                for info in archive.infolist():
                    check_growth(info, path)
            with np.load(path, allow_pickle=False) as content:
                images, pose = content["image"], content["pose"]
        except (zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{path}: damaged ({error}); copy it again") from None
        except DataError:
            raise
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(f"{path}: needs arrays `image` and `pose` ({error})") from None
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise DataError(f"{path}: image is {images.dtype} {images.shape}; expected uint8 (N, H, W, 3)")
        pose = real_numbers(pose, path, "pose is not made of numbers").astype(np.float32)
        if pose.shape != (len(images), 3):
            raise DataError(f"{path}: pose has shape {pose.shape} for {len(images)} images; expected (N, 3)")
        for row in np.flatnonzero(~np.isfinite(pose).all(axis=1)):
            raise DataError(f"{path}: row {row}: angles {pose[row].tolist()} are not finite")
        rows = np.flatnonzero((np.abs(pose) <= LARGEST_ANGLE).all(axis=1))
        images = images[rows, ..., ::-1] if self.channels == "bgr" else images[rows]
        return ArraySource(images, [f"{path.name}:{row}" for row in rows]), pose[rows]
