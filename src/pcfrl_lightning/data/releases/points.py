"""Landmarks and other numbers as they come out of label files."""

import math
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pcfrl_lightning.data.images.rows import TextPath, read_rows
from pcfrl_lightning.data.releases.release import require_companions
from pcfrl_lightning.errors import DataError, require

_FARTHEST = 1e5
_SMALLEST_FACE = 2.0
MOST_NUMBERS = 1 << 20
"""Numbers in the largest variable that is read from a MATLAB file; a few kilobytes can be packed to inflate to more."""


def real_numbers(values: Any, where: object, what: str) -> np.ndarray:
    """Values as float64 in their shape; DataError, saying where and what they are, unless they are real numbers."""
    try:
        if np.iscomplexobj(array := np.asarray(values)):
            raise TypeError("complex numbers")
        return array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: {what} ({error})") from None


def face_points(values: Any, count: int, where: object) -> np.ndarray:
    """Landmarks (count, 2) float32 of one face, from x, y in pixels in any shape that lists them point by point.

    A DataError, which begins with `where`, tells of another number of values, a value that is no real number of at most
    100,000 pixels, or points that all lie in one place.
    """
    turned = np.shape(values) == (2, count)  # would be taken for pairs
    if turned or np.size(values) != 2 * count:
        found = f"an array of shape {np.shape(values)}" if turned else f"{np.size(values) / 2:g}"
        raise DataError(f"{where}: expected {count} landmarks x, y, found {found}")
    points = real_numbers(values, where, "landmarks are not numbers x, y").reshape(count, 2)
    if not (np.abs(points) <= _FARTHEST).all():  # False for NaN, too
        raise DataError(f"{where}: expected {count} finite landmarks within {_FARTHEST:,.0f} pixels")
    if np.ptp(points, axis=0).max() < _SMALLEST_FACE:
        raise DataError(f"{where}: the {count} landmarks lie in one place, near {points[0].tolist()}")
    return points.astype(np.float32)


def read_point_files(folder: TextPath, files: Sequence[str], count: int, lines: int | None = None) -> np.ndarray:
    """Landmarks (n, count, 2) of text files with a line `x y` per point; `lines`: how many are read (None: all).

    Raises MissingLabels as `require_companions` does (where that is collected, the landmarks are zeros).
    """
    result = np.zeros((len(files), count, 2), np.float32)
    found = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    for i, there in enumerate(require_companions(folder, files, "landmark files", found)):
        if there:
            rows = islice(read_rows(folder / files[i]), lines)
            result[i] = face_points([[row.number_at(0), row.number_at(1)] for row in rows], count, folder / files[i])
    return result


def read_mat(path: Path, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of a MATLAB 5 file, its other variables unread.

    DataError where the file is damaged, lacks a key, or has more than `MOST_NUMBERS` in one.
    """
    from scipy.io import loadmat, whosmat

    require(path.is_file(), f"{path} is missing", DataError)
    try:
        sizes = {name: math.prod(shape) for name, shape, _ in whosmat(path)}
        large = [key for key in keys if sizes.get(key, 0) > MOST_NUMBERS]
        content = {} if large else loadmat(path, variable_names=list(keys))
    except Exception as error:  # scipy raises a dozen types on damaged files; all mean the same here
        raise DataError(f"{path}: not a readable MATLAB file ({type(error).__name__}: {error})") from None
    require(not large, f"{path}: {', '.join(large)} has more than {MOST_NUMBERS} numbers", DataError)
    if absent := [key for key in keys if key not in content]:
        raise DataError(f"{path}: has no variable {', '.join(absent)}")
    return {key: np.asarray(content[key]) for key in keys}
