"""How one frame is stored in a pack: equal frames give equal bytes.

A frame is uint8 RGB (H, W, 3); that of `decode` is writable, and CorruptImage is raised where the bytes give none.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pcfrl_lightning.data.images.decode import CorruptImage, decode
from pcfrl_lightning.errors import DataError

_LARGEST_SIDE = 1 << 13


class Raw:
    """Pixels as they are, ``size`` x ``size`` of them."""

    def __init__(self, size: int) -> None:
        self.shape = (size, size, 3)
        self.bytes = 3 * size**2

    def encode(self, image: np.ndarray) -> bytes:
        if image.shape != self.shape or image.dtype != np.uint8:
            raise ValueError(f"frames must be uint8 {self.shape}, got {image.dtype} {image.shape}")
        return image.tobytes()

    def decode(self, data: bytes) -> np.ndarray:
        if len(data) != self.bytes:
            raise CorruptImage("frame", f"{len(data)} bytes are not {self.shape} pixels")
        return np.frombuffer(bytearray(data), np.uint8).reshape(self.shape)


class Jpeg:
    """JPEG of a quality from 1 to 100, by OpenCV."""

    def __init__(self, quality: int) -> None:
        self.quality = quality

    def encode(self, image: np.ndarray) -> bytes:
        import cv2

        options = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
        return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)[1].tobytes()

    def decode(self, data: bytes) -> np.ndarray:
        return decode(data, "frame")


def codec_of(settings: Mapping[str, Any]) -> Raw | Jpeg:
    """The codec that the settings of a pack name: `codec` raw with `size`, or jpeg with `quality`."""
    match settings:
        case {"codec": "raw", "size": int(size)} if 1 <= size <= _LARGEST_SIDE:
            return Raw(size)
        case {"codec": "jpeg", "quality": int(quality)} if 1 <= quality <= 100:
            return Jpeg(quality)
    found = ", ".join(f"{key} {settings.get(key)!r:.40}" for key in ("codec", "size", "quality"))
    raise DataError(f"settings of a pack: {found}; codec must be raw, with a size, or jpeg, with a quality to 100")
