"""Square crops around landmarks, upright or turned, and landmarks in the coordinates of a crop.

Pixel coordinates count from 0 at the centre of the upper left pixel, x to the right and y down.
"""

import math

import numpy as np

from pcfrl_lightning.data.images.decode import CorruptImage
from pcfrl_lightning.errors import require

FIVE_POINTS = 5
"""Left eye, right eye, nose tip, left and right mouth corner; left and right as seen in the image, or the other way."""
_LARGEST = 4
"""A crop may be so many times as large as its image."""
_LEFT_EYE, _RIGHT_EYE = slice(36, 42), slice(42, 48)
_MOUTH_CORNERS = (48, 54)
_UPRIGHT = np.array([-0.5, 0.5, -0.4 + 1.05j, 0.4 + 1.05j])
"""Eyes and mouth corners of an upright frontal face as x + iy, in distances between the eyes."""


def face_boxes(points: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) = x0, y0, x1, y1 of faces known by landmarks (n, L, 2), float32.

    Five landmarks are eyes, nose tip and mouth corners; their box is doubled about its centre, which gives about the
    box of a 68-point annotation, so that one margin means the same for both.
    """
    tight = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1).astype(np.float32)
    if points.shape[1] != FIVE_POINTS:
        return tight
    centre, half = (tight[:, :2] + tight[:, 2:]) / 2, (tight[:, 2:] - tight[:, :2]) / 2
    return np.concatenate([centre - 2 * half, centre + 2 * half], axis=1).astype(np.float32)


def squares(boxes: np.ndarray, margin: float) -> np.ndarray:
    """Squares (n, 3) = left, top, side in whole pixels around boxes (n, 4).

    The side is the longer side of the box times `1 + 2 margin`, at least 2; the centre is that of the box.
    """
    side = _sides(boxes, margin)
    centre = (boxes[:, :2] + boxes[:, 2:] + 1) / 2
    return np.column_stack([np.rint(centre - side[:, None] / 2), side]).astype(np.int64)


def upright_angles(points: np.ndarray) -> np.ndarray:
    """Angles (n,) in radians by which faces are turned in the image, clockwise as seen, in (-pi, pi].

    The rotation that fits eyes and mouth corners best (least squares, any scale) to those of an upright face.  A
    frontal face narrowed by yaw fits the same rotation.  The mirrored face is fitted as well and the better fit
    decides, so releases may count left and right as seen by the viewer or by the person.

    ``points`` are (n, L, 2) with L = 5 (see `FIVE_POINTS`), 68 (iBUG) or 66 (iBUG without the inner mouth corners).
    """
    count, four = points.shape[1], points.astype(np.float64)
    require(count in (FIVE_POINTS, 66, 68), f"cannot turn faces by {count} landmarks: expected 5, 66 or 68")
    if count == FIVE_POINTS:
        four = four[:, [0, 1, 3, 4]]
    else:
        eyes = [four[:, eye].mean(axis=1, keepdims=True) for eye in (_LEFT_EYE, _RIGHT_EYE)]
        four = np.concatenate([*eyes, four[:, _MOUTH_CORNERS]], axis=1)
    centred = (four - four.mean(axis=1, keepdims=True)) @ np.array([1, 1j])
    upright = _UPRIGHT - _UPRIGHT.mean()
    fits = np.stack([centred @ upright.conj(), centred @ -upright])  # -upright: the conjugate of the mirrored face
    return np.angle(np.take_along_axis(fits, np.abs(fits).argmax(axis=0)[None], axis=0)[0])


def upright_squares(points: np.ndarray, margin: float) -> np.ndarray:
    """Turned squares (n, 4) float64 = centre x, centre y, side in whole pixels, angle in radians, around faces; points
    as in `upright_angles`, margin as in `squares`, of the box of the face turned upright."""
    angles = upright_angles(points)
    cos, sin = np.cos(angles), np.sin(angles)
    to_image = np.stack([np.stack([cos, -sin], axis=1), np.stack([sin, cos], axis=1)], axis=1)
    boxes = face_boxes(points.astype(np.float64) @ to_image)  # rows times the matrix: turned back
    centre = (boxes[:, :2] + boxes[:, 2:]).astype(np.float64) / 2
    return np.column_stack([np.einsum("nij,nj->ni", to_image, centre), _sides(boxes, margin), angles])


def cut(image: np.ndarray, square: np.ndarray, name: str) -> np.ndarray:
    """The square left, top, side of an image (H, W, 3) uint8; what lies outside the image is black.

    A CorruptImage names the image where the square does not touch it or is more than four times its size.
    """
    left, top, side = map(int, square)
    height, width = image.shape[:2]
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + side, width), min(top + side, height)
    if x0 >= x1 or y0 >= y1 or side > _LARGEST * max(height, width):
        raise _misfit(image, left, top, side, name)
    if (x1 - x0, y1 - y0) == (side, side):
        return image[y0:y1, x0:x1]
    result = np.zeros((side, side, 3), np.uint8)
    result[y0 - top : y1 - top, x0 - left : x1 - left] = image[y0:y1, x0:x1]
    return result


def cut_turned(image: np.ndarray, square: np.ndarray, name: str) -> np.ndarray:
    """A turned square (see `upright_squares`) of an image (H, W, 3) uint8, upright and in the image's resolution
    (bilinear); otherwise like `cut`.
    """
    import cv2

    x, y, side, angle = map(float, square)
    cos, sin, middle = math.cos(angle), math.sin(angle), (side - 1) / 2
    height, width = image.shape[:2]
    right, down = x - (width - 1) / 2, y - (height - 1) / 2
    reach = side * (abs(cos) + abs(sin))  # of the square along the axes of the image
    apart = (
        2 * abs(right) >= width + reach
        or 2 * abs(down) >= height + reach
        or 2 * abs(cos * right + sin * down) >= side + abs(cos) * width + abs(sin) * height
        or 2 * abs(cos * down - sin * right) >= side + abs(sin) * width + abs(cos) * height
    )
    if apart or side > _LARGEST * max(height, width):
        raise _misfit(image, round(x - side / 2), round(y - side / 2), round(side), name)
    to_image = np.array([[cos, -sin, x - (cos - sin) * middle], [sin, cos, y - (sin + cos) * middle]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(image, to_image, (round(side), round(side)), flags=flags, borderMode=cv2.BORDER_CONSTANT)


def in_crop(points: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """Points (n, L, 2) in pixels to float32 coordinates of their squares (n, 3); [0, 1] is the inside."""
    return ((points + 0.5 - crops[:, None, :2]) / crops[:, None, 2:]).astype(np.float32)


def _sides(boxes: np.ndarray, margin: float) -> np.ndarray:
    return np.maximum(np.rint((boxes[:, 2:] - boxes[:, :2]).max(axis=1) * (1 + 2 * margin)), 2)


def _misfit(image: np.ndarray, left: int, top: int, side: int, name: str) -> CorruptImage:
    height, width = image.shape[:2]
    return CorruptImage(name, f"its landmarks (crop at {left}, {top}, side {side}) do not fit a {width}x{height} image")
