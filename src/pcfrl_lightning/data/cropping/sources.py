"""Sources of images that are cut out of other images."""

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pcfrl_lightning.data.cropping.geometry import cut, squares
from pcfrl_lightning.data.images.sources import ImageSource, digest
from pcfrl_lightning.errors import DataError

Cutter = Callable[[np.ndarray, np.ndarray, str], np.ndarray]
"""Image (H, W, 3), its crop, its name -> crop (side, side, 3); raises CorruptImage where they do not fit."""


class _Wrapped(ImageSource):
    """Images made of those of another source."""

    source: ImageSource

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        return self.source.name(index)


class CutSource(_Wrapped):
    """Images cut to one square each: `crops` (n, k) are the rows that `cutter` (`cut` or `cut_turned`) takes."""

    def __init__(self, source: ImageSource, crops: np.ndarray, cutter: Cutter) -> None:
        if len(crops) != len(source):
            raise DataError(f"{len(crops)} crops for {len(source)} images")
        self.source, self.crops, self.cutter = source, crops, cutter

    def read(self, index: int) -> np.ndarray:
        return self.cutter(self.source.read(index), self.crops[index], self.name(index))

    def fingerprint(self) -> str:
        return digest([self.source.fingerprint(), hashlib.sha256(self.crops.tobytes()).hexdigest()])


class YuNet:
    """OpenCV's face detector, one per thread; see `YuNetCrop` for the arguments."""

    def __init__(self, model_path: Path, margin: float, score: float) -> None:
        self.model_path, self.margin, self.score = model_path, margin, score
        self._local = threading.local()

    def crop(self, image: np.ndarray, name: str) -> np.ndarray:
        """The square around the largest face, or the whole image where none is found."""
        face = self.largest_face(image)
        return image if face is None else cut(image, squares(face[None], self.margin)[0], name)

    def largest_face(self, image: np.ndarray) -> np.ndarray | None:
        """Box x0, y0, x1, y1 of the largest face, or None."""
        import cv2

        if not hasattr(self._local, "detector"):  # it holds the size of its input
            self._local.detector = cv2.FaceDetectorYN.create(str(self.model_path), "", (320, 320), self.score)
        self._local.detector.setInputSize((image.shape[1], image.shape[0]))
        _, faces = self._local.detector.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if faces is None or len(faces) == 0:
            return None
        x, y, w, h = max(faces[:, :4], key=lambda box: float(box[2] * box[3]))
        return np.array([x, y, x + w - 1, y + h - 1], np.float32)

    def fingerprint(self) -> str:
        """Text that changes with the settings and the model."""
        return f"{self.margin} {self.score}\n{hashlib.sha256(self.model_path.read_bytes()).hexdigest()}"

    def __reduce__(self) -> tuple[Any, ...]:
        return YuNet, (self.model_path, self.margin, self.score)


class DetectedSource(_Wrapped):
    """Images cut to the face that YuNet finds; see `YuNetCrop`."""

    def __init__(self, source: ImageSource, detector: YuNet) -> None:
        self.source, self.detector = source, detector

    def read(self, index: int) -> np.ndarray:
        return self.detector.crop(self.source.read(index), self.name(index))

    def has_face(self, index: int) -> bool:
        """Whether a face is found in an image; else `read` gives all of it."""
        return self.detector.largest_face(self.source.read(index)) is not None

    def fingerprint(self) -> str:
        return digest([self.source.fingerprint(), self.detector.fingerprint()])
