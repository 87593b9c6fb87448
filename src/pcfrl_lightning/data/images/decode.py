"""Bytes of an image file to RGB uint8."""

import io
from contextlib import suppress
from struct import unpack_from

import numpy as np

_JPEG = b"\xff\xd8"
_END_OF_JPEG = b"\xff\xd9"
_TAIL = 64
_START_OF_FRAME = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
MOST_PIXELS = 1 << 26
"""Pixels of the largest image that is decoded, 8192 x 8192; a file of a kilobyte can claim 65500 x 65500."""


class CorruptImage(Exception):
    """An image that cannot be read: its name inside its source, and why, in a few words."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def decode(data: bytes, name: str) -> np.ndarray:
    """The image in the bytes of a file of any common format, (H, W, 3) uint8 RGB.

    Grey images get three equal channels, palettes are resolved, 16-bit images keep their upper 8 bits, floats are
    scaled from [0, 1] (or kept, from 0..255), transparent pixels are laid over black and the EXIF orientation is
    applied.  Everything but JPEG, and a JPEG without an end marker or a plain header, goes through Pillow, which
    refuses truncated files.

    A CorruptImage of this ``name`` tells of empty, truncated or undecodable data, more than `MOST_PIXELS`, or numbers
    that are no grey values (NaN, or out of range).
    """
    if not data:
        raise CorruptImage(name, "empty file")
    if data[:2] == _JPEG and _END_OF_JPEG in data[-_TAIL:] and any(size := _jpeg_size(data)):
        _check_size(*size, name)
        return _decode_jpeg(data, name)
    return _decode_any(data, name)


def _decode_jpeg(data: bytes, name: str) -> np.ndarray:
    """By OpenCV: 32 microseconds for a face of FER-2013, where torchvision takes 52 and Pillow 114, same pixels."""
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise CorruptImage(name, f"not decodable ({error.err})") from None
    if image is None:
        raise CorruptImage(name, "not a decodable image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Width and height that a JPEG file claims; 0, 0 where its segments do not lead to them."""
    start = 2
    while start + 9 <= len(data) and data[start] == 0xFF:
        marker = data[start + 1]
        if marker in _START_OF_FRAME:
            height, width = unpack_from(">HH", data, start + 5)
            return width, height
        # fill bytes, and markers without a length
        alone = marker == 0x01 or 0xD0 <= marker <= 0xD7
        start += 1 if marker == 0xFF else 2 if alone else 2 + unpack_from(">H", data, start + 2)[0]
    return 0, 0


def _check_size(width: int, height: int, name: str) -> None:
    if width * height > MOST_PIXELS:
        raise CorruptImage(name, f"{width} x {height} pixels, more than {MOST_PIXELS} in all")


def _decode_any(data: bytes, name: str) -> np.ndarray:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as opened:
            _check_size(*opened.size, name)
            opened.load()
            image: Image.Image = opened
            with suppress(Exception):  # damaged EXIF data say nothing, as in a JPEG
                image = ImageOps.exif_transpose(opened)
            if image.mode[0] in "IF":  # integers of more than 8 bits, or floats: Pillow would clip instead of scale
                return np.repeat(_to_8_bits(np.asarray(image), image.mode)[:, :, None], 3, axis=2)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
            return np.array(image.convert("RGB"))
    except CorruptImage:
        raise
    except UnidentifiedImageError:  # its message is the address of a buffer
        raise CorruptImage(name, "not an image of a known format") from None
    except Exception as error:  # Pillow's plugins raise many types on damaged files; all mean the same here
        raise CorruptImage(name, f"{type(error).__name__}: {error}") from None


def _to_8_bits(grey: np.ndarray, mode: str) -> np.ndarray:
    """Grey (H, W) of 16 or 32 bits or floats to uint8; raises ValueError for what cannot be meant as grey values."""
    low, high = grey.min(), grey.max()
    if mode == "F":
        if not np.isfinite(grey).all() or low < 0 or high > 255:
            raise ValueError(f"float pixels from {low:g} to {high:g}; expected [0, 1], or 0 to 255")
        return (grey * (255 if high <= 1 else 1)).round().astype(np.uint8)
    if low < 0 or high > 65535:
        raise ValueError(f"pixels from {low} to {high}; expected 0 to 65535")
    return (grey if mode == "I" and high <= 255 else grey.astype(np.int64) >> 8).astype(np.uint8)
