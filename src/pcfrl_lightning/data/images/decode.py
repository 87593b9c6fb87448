"""Bytes of an image file to RGB uint8."""

import io

import numpy as np

_JPEG = b"\xff\xd8"
_END_OF_JPEG = b"\xff\xd9"
_TAIL = 64


class CorruptImage(Exception):
    """An image that cannot be read.

    Args:
        name: name of the image inside its source.
        reason: why, in a few words.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(name, reason)
        self.name = name
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


def decode(data: bytes, name: str) -> np.ndarray:
    """Decode an image file of any common format.

    Grey images get three equal channels, palettes are resolved, 16-bit images keep their upper 8 bits, transparent
    pixels are laid over black and the EXIF orientation is applied.  JPEG goes through OpenCV, which needs half the time
    of Pillow for small faces; everything else, and a JPEG without an end marker, through Pillow, which refuses
    truncated files.

    Args:
        data: content of the file.
        name: used in the error only.

    Returns:
        (H, W, 3) uint8, RGB.

    Raises:
        CorruptImage: empty, truncated or undecodable data.
    """
    if not data:
        raise CorruptImage(name, "empty file")
    if data[:2] == _JPEG and _END_OF_JPEG in data[-_TAIL:]:
        return _decode_jpeg(data, name)
    return _decode_any(data, name)


def _decode_jpeg(data: bytes, name: str) -> np.ndarray:
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise CorruptImage(name, f"not decodable ({error.err})") from None
    if image is None:
        raise CorruptImage(name, "not a decodable image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def _decode_any(data: bytes, name: str) -> np.ndarray:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):  # 16-bit grey: Pillow's own conversion would clip instead of scale
                grey = (np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)
                return np.repeat(grey[:, :, None], 3, axis=2)
            if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
            return np.array(image.convert("RGB"))
    except UnidentifiedImageError:  # its message is the address of a buffer
        raise CorruptImage(name, "not an image of a known format") from None
    except Exception as error:  # Pillow's plugins raise many types on damaged files; all mean the same here
        raise CorruptImage(name, f"{type(error).__name__}: {error}") from None
