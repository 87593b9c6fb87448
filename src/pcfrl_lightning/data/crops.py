"""Square crops around landmarks, and landmarks in the coordinates of a crop.

Pixel coordinates count from 0 at the centre of the upper left pixel, x to the right and y down.
"""

import numpy as np

from pcfrl_lightning.data.decode import CorruptImage

_LARGEST = 4


def bounds(points: np.ndarray) -> np.ndarray:
    """Tight boxes (..., 4) = x0, y0, x1, y1 of points (..., L, 2), float32."""
    return np.concatenate([points.min(axis=-2), points.max(axis=-2)], axis=-1).astype(np.float32)


def five_point_bounds(points: np.ndarray) -> np.ndarray:
    """Boxes (..., 4) of faces known by eye centres, nose tip and mouth corners (..., 5, 2).

    The box of the five points is doubled about its centre, which gives about the box of a 68-point annotation, so that
    one margin means the same for both.
    """
    tight = bounds(points)
    centre, half = (tight[..., :2] + tight[..., 2:]) / 2, (tight[..., 2:] - tight[..., :2]) / 2
    return np.concatenate([centre - 2 * half, centre + 2 * half], axis=-1).astype(np.float32)


def squares(boxes: np.ndarray, margin: float) -> np.ndarray:
    """Squares (n, 3) = left, top, side in whole pixels around boxes (n, 4).

    The side is the longer side of the box times `1 + 2 margin`, at least 2; the centre is that of the box.
    """
    side = np.maximum(np.rint((boxes[:, 2:] - boxes[:, :2]).max(axis=1) * (1 + 2 * margin)), 2)
    centre = (boxes[:, :2] + boxes[:, 2:] + 1) / 2
    return np.column_stack([np.rint(centre - side[:, None] / 2), side]).astype(np.int64)


def cut(image: np.ndarray, square: np.ndarray, name: str) -> np.ndarray:
    """The square of an image; what lies outside the image is black.

    Args:
        image: (H, W, 3) uint8.
        square: left, top, side in pixels; may reach over the border.
        name: of the image, for the error.

    Returns:
        (side, side, 3) uint8.

    Raises:
        CorruptImage: the square does not touch the image or is more than four times its size.
    """
    left, top, side = (int(value) for value in square)
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x0 >= x1 or y0 >= y1 or side > _LARGEST * max(height, width):
        raise CorruptImage(
            name, f"its landmarks (crop at {left}, {top}, side {side}) do not fit a {width}x{height} image"
        )
    if (x1 - x0, y1 - y0) == (side, side):
        return image[y0:y1, x0:x1]
    result = np.zeros((side, side, 3), np.uint8)
    result[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return result


def in_crop(points: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """Points (n, L, 2) in pixels to float32 coordinates of their squares (n, 3); [0, 1] is the inside."""
    return ((points + 0.5 - crops[:, None, :2]) / crops[:, None, 2:]).astype(np.float32)
