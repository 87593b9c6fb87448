"""How a face is cut out of its image: not at all, by the landmarks of the release, or by the YuNet detector.

One object of this file is the `cropping` option of every downstream data module.
"""

import hashlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pcfrl_lightning.data.cropping.geometry import cut, cut_turned, face_boxes, squares, upright_squares
from pcfrl_lightning.data.images.sources import ImageSource, WrappedSource, digest
from pcfrl_lightning.errors import DataError, require

Cutter = Callable[[np.ndarray, np.ndarray, str], np.ndarray]
"""Image (H, W, 3), its crop, its name -> crop (side, side, 3); raises CorruptImage where they do not fit."""
_OF_THREAD = threading.local()
"""Detectors of this thread by model and least confidence: one holds the size of its input."""


class UnsuitableCropping(ValueError):
    """A data set cannot be cut out this way; the message says what it takes."""


class Cropper(ABC):
    """Turns a source of images into a source of face crops."""

    needs_landmarks: bool = False
    """Whether `apply` needs the landmarks of the release; a data module reads them only then."""

    @abstractmethod
    def apply(self, source: ImageSource, landmarks: np.ndarray | None) -> ImageSource:
        """Crop n images; landmarks (n, L, 2) are pixels x, y, counted from 0, None where the release has none."""


class NoCrop(Cropper):
    """The image as it is; the loader then resizes its shorter side and takes the centre square."""

    def apply(self, source: ImageSource, landmarks: np.ndarray | None) -> ImageSource:
        return source


class _ByLandmarks(Cropper):
    needs_landmarks = True

    def __init__(self, margin: float = 0.25) -> None:
        self.margin = _checked(margin)


class LandmarkCrop(_ByLandmarks):
    """A square around the landmarks of the release, not turned; black where it leaves the image.

    Args:
        margin: added on every side, as a share of the longer side of the landmark box, at least 0.  0.25 (a crop of 1.5
            times the box) keeps forehead and ears of a 68-point annotation, whose box ends at the eyebrows.
    """

    def squares(self, landmarks: np.ndarray) -> np.ndarray:
        """Crops (n, 3) = left, top, side in pixels for landmarks (n, L, 2)."""
        return squares(face_boxes(landmarks), self.margin)

    def apply(self, source: ImageSource, landmarks: np.ndarray | None) -> ImageSource:
        return CutSource(source, self.squares(_present(landmarks)), cut)


class UprightCrop(_ByLandmarks):
    """A square around the landmarks of the release, turned until eyes and mouth stand upright, for expressions, action
    units, attributes and identity; black where it leaves the image.

    Head pose and landmark data refuse it: roll and the points are their labels.

    Args:
        margin: as in `LandmarkCrop`, of the landmark box of the upright face.
    """

    def apply(self, source: ImageSource, landmarks: np.ndarray | None) -> ImageSource:
        return CutSource(source, upright_squares(_present(landmarks), self.margin), cut_turned)


class YuNetCrop(Cropper):
    """A square around the face that OpenCV's YuNet detector finds.

    Of several faces the largest is taken.  Where none is found the whole image is kept.

    Args:
        model_path: the ONNX file `face_detection_yunet_2023mar.onnx` of the OpenCV Zoo (not part of this package).
        margin: added on every side, as a share of the longer side of the detected box (which reaches from the chin to
            the forehead), at least 0.
        score: least confidence of a detection, in (0, 1).
    """

    def __init__(self, model_path: str | Path, margin: float = 0.15, score: float = 0.6) -> None:
        require(0 < score < 1, f"score must be between 0 and 1, got {score}")
        self.model_path, self.margin, self.score = Path(model_path), _checked(margin), score
        if not self.model_path.is_file():
            raise FileNotFoundError(
                f"YuNet model {self.model_path} does not exist: download face_detection_yunet_2023mar.onnx from the "
                "OpenCV Zoo (github.com/opencv/opencv_zoo, models/face_detection_yunet) and give its path as "
                "--yunet-model, as --crop-faces of prepare-voxceleb, or as model_path of YuNetCrop"
            )

    def apply(self, source: ImageSource, landmarks: np.ndarray | None) -> ImageSource:
        return DetectedSource(source, self)

    def crop(self, image: np.ndarray, name: str) -> np.ndarray:
        """The square around the largest face, or the whole image where none is found."""
        face = self.largest_face(image)
        return image if face is None else cut(image, squares(face[None], self.margin)[0], name)

    def largest_face(self, image: np.ndarray) -> np.ndarray | None:
        """Box x0, y0, x1, y1 of the largest face, or None."""
        import cv2

        detectors, key = vars(_OF_THREAD), f"{self.score} {self.model_path}"
        if key not in detectors:
            try:
                detectors[key] = cv2.FaceDetectorYN.create(str(self.model_path), "", (320, 320), self.score)
            except cv2.error as error:
                raise DataError(
                    f"YuNet model {self.model_path} cannot be read: give the .onnx file itself, not a web page about it"
                ) from error
        detectors[key].setInputSize((image.shape[1], image.shape[0]))
        _, faces = detectors[key].detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if faces is None or len(faces) == 0:
            return None
        x, y, w, h = max(faces[:, :4], key=lambda box: float(box[2] * box[3]))
        return np.array([x, y, x + w - 1, y + h - 1], np.float32)

    def fingerprint(self) -> str:
        """Text that changes with the settings and the model."""
        return f"{self.margin} {self.score}\n{hashlib.sha256(self.model_path.read_bytes()).hexdigest()}"


class CutSource(WrappedSource):
    """Images cut to one square each: `crops` (n, k) are the rows that `cutter` (`cut` or `cut_turned`) takes."""

    def __init__(self, source: ImageSource, crops: np.ndarray, cutter: Cutter) -> None:
        require(len(crops) == len(source), f"{len(crops)} crops for {len(source)} images", DataError)
        self.source, self.crops, self.cutter = source, crops, cutter

    def read(self, index: int) -> np.ndarray:
        return self.cutter(self.source.read(index), self.crops[index], self.name(index))

    def fingerprint(self) -> str:
        return digest([self.source.fingerprint(), hashlib.sha256(self.crops.tobytes()).hexdigest()])


class DetectedSource(WrappedSource):
    """Images cut to the face that YuNet finds; see `YuNetCrop`."""

    def __init__(self, source: ImageSource, detector: YuNetCrop) -> None:
        self.source, self.detector = source, detector

    def read(self, index: int) -> np.ndarray:
        return self.detector.crop(self.source.read(index), self.name(index))

    def has_face(self, index: int) -> bool:
        """Whether a face is found in an image; else `read` gives all of it."""
        return self.detector.largest_face(self.source.read(index)) is not None

    def fingerprint(self) -> str:
        return digest([self.source.fingerprint(), self.detector.fingerprint()])


def _checked(margin: float) -> float:
    require(0 <= margin < float("inf"), f"margin must be 0 or more, got {margin}")
    return margin


def _present(landmarks: np.ndarray | None) -> np.ndarray:
    if landmarks is None:
        raise DataError("this release has no landmarks: use cropping NoCrop or YuNetCrop")
    return landmarks
