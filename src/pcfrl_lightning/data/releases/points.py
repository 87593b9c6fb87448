"""Facial landmarks as they come out of label files."""

from typing import Any

import numpy as np

from pcfrl_lightning.errors import DataError

_FARTHEST = 1e5
_SMALLEST_FACE = 2.0


def face_points(values: Any, count: int, where: object) -> np.ndarray:
    """Landmarks of one face, checked.

    Args:
        values: array or nested lists of `count` points x, y in pixels, in any shape that lists them one by one.
        count: L, how many there must be.
        where: file, or file and line, for the message.

    Returns:
        (L, 2) float32.

    Raises:
        DataError: another number of values, a value that is no real number of at most 100,000 pixels, or points that
            all lie in one place.
    """
    turned = np.shape(values) == (2, count)  # would be taken for pairs
    if turned or np.size(values) != 2 * count:
        found = f"an array of shape {np.shape(values)}" if turned else f"{np.size(values) / 2:g}"
        raise DataError(f"{where}: expected {count} landmarks x, y, found {found}")
    array = np.asarray(values)
    try:
        if np.iscomplexobj(array):
            raise TypeError("complex numbers")
        points = array.reshape(count, 2).astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: landmarks are not numbers x, y ({error})") from None
    if not (np.abs(points) <= _FARTHEST).all():  # False for NaN, too
        raise DataError(f"{where}: expected {count} finite landmarks within {_FARTHEST:,.0f} pixels")
    if np.ptp(points, axis=0).max() < _SMALLEST_FACE:
        raise DataError(f"{where}: the {count} landmarks lie in one place, near {points[0].tolist()}")
    return points.astype(np.float32)
