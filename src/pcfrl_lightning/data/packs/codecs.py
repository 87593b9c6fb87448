"""How one frame is stored in a pack."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np

from pcfrl_lightning.data.images.decode import CorruptImage, decode
from pcfrl_lightning.errors import DataError


class Codec(ABC):
    """Turns a frame, uint8 RGB (H, W, 3), into bytes and back; equal frames give equal bytes."""

    @abstractmethod
    def encode(self, image: np.ndarray) -> bytes:
        """The bytes of a frame."""

    @abstractmethod
    def decode(self, data: bytes) -> np.ndarray:
        """The frame of these bytes, writable.  Raises CorruptImage."""


class Raw(Codec):
    """Pixels as they are.

    Args:
        size: side of the frames in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def encode(self, image: np.ndarray) -> bytes:
        if image.shape != (self.size, self.size, 3) or image.dtype != np.uint8:
            raise ValueError(f"frames must be uint8 ({self.size}, {self.size}, 3), got {image.dtype} {image.shape}")
        return image.tobytes()

    def decode(self, data: bytes) -> np.ndarray:
        if len(data) != 3 * self.size**2:
            raise CorruptImage("frame", f"{len(data)} bytes are not {self.size} x {self.size} pixels")
        return np.frombuffer(data, np.uint8).reshape(self.size, self.size, 3).copy()


class Jpeg(Codec):
    """JPEG by OpenCV.

    Args:
        quality: 1 to 100.
    """

    def __init__(self, quality: int) -> None:
        self.quality = quality

    def encode(self, image: np.ndarray) -> bytes:
        import cv2

        options = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
        return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()

    def decode(self, data: bytes) -> np.ndarray:
        return decode(data, "frame")


def codec_of(settings: Mapping[str, Any]) -> Codec:
    """The codec that the settings of a pack name: `codec` raw with `size`, or jpeg with `quality`."""
    match settings.get("codec"):
        case "raw":
            return Raw(int(settings["size"]))
        case "jpeg":
            return Jpeg(int(settings["quality"]))
    raise DataError(f"codec '{settings.get('codec')}' of a pack must be raw or jpeg")
