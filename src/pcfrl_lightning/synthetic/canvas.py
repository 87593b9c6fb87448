"""The plane on which a face's texture is drawn.

The canvas holds the head unrolled (horizontally arc length, compressed behind the ears; vertically height) and, below
it, one tile of plain material for each thing that is not the head.
"""

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

LEFT, RIGHT = -1.5, 1.5
TOP, BOTTOM = 1.06, -1.06
TILE_HEIGHT = 0.24
_FRONT = 1.25  # arc length up to which the canvas is not compressed
_BACK_FACTOR = 0.245

TILES: tuple[str, ...] = ("hair", "skin", "shirt", "glasses")
TILE_WIDTH = (RIGHT - LEFT) / len(TILES)


def horizontal(x: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Canvas coordinate of arc length ``x``."""
    beyond = np.maximum(np.abs(x) - _FRONT, 0)
    return np.sign(x) * (np.minimum(np.abs(x), _FRONT) + _BACK_FACTOR * beyond)


def arc_length(u: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Inverse of ``horizontal``."""
    beyond = np.maximum(np.abs(u) - _FRONT, 0)
    return np.sign(u) * (np.minimum(np.abs(u), _FRONT) + beyond / _BACK_FACTOR)


def tile(name: str, across: npt.ArrayLike = 0.5, down: npt.ArrayLike = 0.5) -> Array:
    """Canvas position inside a material tile; ``across`` and ``down`` in [0, 1]. Returns (..., 2)."""
    left = LEFT + TILE_WIDTH * TILES.index(name)
    u = left + TILE_WIDTH * (0.1 + 0.8 * np.asarray(across))
    v = BOTTOM - TILE_HEIGHT * (0.2 + 0.6 * np.asarray(down))
    return np.stack(np.broadcast_arrays(u, v), axis=-1).astype(np.float32)


def shape(resolution: float) -> tuple[int, int]:
    """Rows and columns of a canvas with ``resolution`` pixels per unit; an even resolution keeps it symmetric."""
    return round((TOP - BOTTOM + TILE_HEIGHT) * resolution), round((RIGHT - LEFT) * resolution)


def to_pixels(coordinates: npt.NDArray[np.floating], resolution: float) -> npt.NDArray[np.floating]:
    """Pixel positions (column, row) of canvas coordinates (u, v), pixel centres at integers."""
    scale = np.array([resolution, -resolution], coordinates.dtype)
    origin = np.array([-LEFT * resolution - 0.5, TOP * resolution - 0.5], coordinates.dtype)
    return coordinates * scale + origin
