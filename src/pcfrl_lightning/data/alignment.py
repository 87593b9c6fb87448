"""How a face is cut out of its image: not at all, by the landmarks of the release, or by the YuNet detector.

One object of this file is the `alignment` option of every downstream data module.  None of them rotates: roll is a
label of the head-pose data.
"""

import hashlib
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np

from pcfrl_lightning.data.crops import cut, squares
from pcfrl_lightning.data.sources import ImageSource, digest
from pcfrl_lightning.errors import DataError


class UnsuitableAlignment(ValueError):
    """A data set cannot be cut out this way; the message says what it takes."""


class Alignment(ABC):
    """Turns a source of images into a source of face crops.

    Attributes:
        needs_boxes: whether `apply` needs the face boxes of the release; a data module reads landmarks only then.
    """

    needs_boxes: bool = False

    @abstractmethod
    def apply(self, source: ImageSource, boxes: np.ndarray | None) -> ImageSource:
        """Crop every image.

        Args:
            source: n images.
            boxes: (n, 4) float, x0, y0, x1, y1 of the face in pixels; None where the release has no landmarks.
        """


class NoAlignment(Alignment):
    """The image as it is; the loader then resizes its shorter side and takes the centre square."""

    def apply(self, source: ImageSource, boxes: np.ndarray | None) -> ImageSource:
        return source


class LandmarkCrop(Alignment):
    """A square around the landmarks of the release; black where it leaves the image.

    Args:
        margin: added on every side, as a share of the longer side of the landmark box, at least 0.  0.25 (a crop of 1.5
            times the box) keeps forehead and ears of a 68-point annotation, whose box ends at the eyebrows.

    Raises:
        ValueError: a negative margin.
    """

    needs_boxes = True

    def __init__(self, margin: float = 0.25) -> None:
        if not 0 <= margin < float("inf"):
            raise ValueError(f"margin must be 0 or more, got {margin}")
        self.margin = margin

    def squares(self, boxes: np.ndarray) -> np.ndarray:
        """Crops (n, 3) = left, top, side in pixels for boxes (n, 4)."""
        return squares(boxes, self.margin)

    def apply(self, source: ImageSource, boxes: np.ndarray | None) -> ImageSource:
        """See the base class; raises DataError without boxes."""
        if boxes is None:
            raise DataError("this release has no landmarks: use alignment NoAlignment or YuNetCrop")
        return CroppedSource(source, self.squares(boxes))


class YuNetCrop(Alignment):
    """A square around the face that OpenCV's YuNet detector finds.

    Of several faces the largest is taken.  Where none is found the whole image is kept.

    Args:
        model_path: the ONNX file `face_detection_yunet_2023mar.onnx` of the OpenCV Zoo (not part of this package).
        margin: added on every side, as a share of the longer side of the detected box (which reaches from the chin to
            the forehead), at least 0.
        score: least confidence of a detection, in (0, 1).

    Raises:
        ValueError: an argument out of range.
        FileNotFoundError: the model file is absent.
    """

    def __init__(self, model_path: str | Path, margin: float = 0.15, score: float = 0.6) -> None:
        if not 0 <= margin < float("inf"):
            raise ValueError(f"margin must be 0 or more, got {margin}")
        if not 0 < score < 1:
            raise ValueError(f"score must be between 0 and 1, got {score}")
        self.model_path, self.margin, self.score = Path(model_path), margin, score
        if not self.model_path.is_file():
            raise FileNotFoundError(
                f"YuNet model {self.model_path} does not exist: download face_detection_yunet_2023mar.onnx from the "
                "OpenCV Zoo (github.com/opencv/opencv_zoo, models/face_detection_yunet) and pass its path as model_path"
            )

    def apply(self, source: ImageSource, boxes: np.ndarray | None) -> ImageSource:
        return DetectedSource(source, self)


class CroppedSource(ImageSource):
    """Images cut to one square each.

    Args:
        source: n images.
        crops: (n, 3) int, left, top and side in pixels.
    """

    def __init__(self, source: ImageSource, crops: np.ndarray) -> None:
        if len(crops) != len(source):
            raise DataError(f"{len(crops)} crops for {len(source)} images")
        self.source, self.crops = source, crops

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        return self.source.name(index)

    def read(self, index: int) -> np.ndarray:
        return cut(self.source.read(index), self.crops[index], self.name(index))

    def fingerprint(self) -> str:
        return digest([self.source.fingerprint(), hashlib.sha256(self.crops.tobytes()).hexdigest()])


class DetectedSource(ImageSource):
    """Images cut to the face that YuNet finds.

    Args:
        source: the images.
        alignment: model file, margin and score.
    """

    def __init__(self, source: ImageSource, alignment: YuNetCrop) -> None:
        self.source, self.alignment = source, alignment
        self._local = threading.local()

    def __len__(self) -> int:
        return len(self.source)

    def name(self, index: int) -> str:
        return self.source.name(index)

    def read(self, index: int) -> np.ndarray:
        image = self.source.read(index)
        face = self._largest_face(image)
        if face is None:
            return image
        return cut(image, squares(face[None], self.alignment.margin)[0], self.name(index))

    def fingerprint(self) -> str:
        setting = f"{self.alignment.margin} {self.alignment.score}"
        model = hashlib.sha256(self.alignment.model_path.read_bytes()).hexdigest()
        return digest([self.source.fingerprint(), setting, model])

    def _largest_face(self, image: np.ndarray) -> np.ndarray | None:
        """Box x0, y0, x1, y1 of the largest face, or None."""
        import cv2

        detector = self._thread_detector()
        detector.setInputSize((image.shape[1], image.shape[0]))
        _, faces = detector.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        if faces is None or len(faces) == 0:
            return None
        x, y, w, h = max(faces[:, :4], key=lambda box: float(box[2] * box[3]))
        return np.array([x, y, x + w - 1, y + h - 1], np.float32)

    def _thread_detector(self) -> Any:
        """One detector per thread: it holds the size of its input."""
        import cv2

        if not hasattr(self._local, "detector"):
            self._local.detector = cv2.FaceDetectorYN.create(
                str(self.alignment.model_path), "", (320, 320), self.alignment.score
            )
        return self._local.detector

    def __getstate__(self) -> dict[str, Any]:
        return {"source": self.source, "alignment": self.alignment}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
