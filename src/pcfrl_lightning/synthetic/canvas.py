"""The plane on which a face's texture is drawn, and a pen for it.

The canvas holds the head unrolled (horizontally arc length, compressed behind the ears; vertically height) and, below
it, one tile of plain material for each thing that is not the head.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Points = npt.NDArray[np.floating]
Ink = int | npt.NDArray[np.floating]

LEFT, RIGHT = -1.5, 1.5
TOP, BOTTOM = 1.06, -1.06
TILE_HEIGHT = 0.24
_FRONT = 1.25  # arc length up to which the canvas is not compressed
_BACK_FACTOR = 0.245
_SHIFT = 4  # fractional bits of OpenCV's integer coordinates

TILES = ("hair", "skin", "shirt", "glasses")
TILE_WIDTH = (RIGHT - LEFT) / len(TILES)


def horizontal(x: Points) -> Points:
    """Canvas coordinate of arc length ``x``."""
    beyond = np.maximum(np.abs(x) - _FRONT, 0)
    return np.sign(x) * (np.minimum(np.abs(x), _FRONT) + _BACK_FACTOR * beyond)


def arc_length(u: Points) -> Points:
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


def to_pixels(coordinates: Points, resolution: float) -> Points:
    """Pixel positions (column, row) of canvas coordinates (u, v), pixel centres at integers."""
    scale = np.array([resolution, -resolution], coordinates.dtype)
    origin = np.array([-LEFT * resolution - 0.5, TOP * resolution - 0.5], coordinates.dtype)
    return coordinates * scale + origin


class Pen:
    """Anti-aliased shapes on an image whose first pixel is the canvas pixel ``corner`` (column, row); points are canvas
    coordinates (u to the right, v up), (n, 2).
    """

    def __init__(self, image: npt.NDArray[np.uint8], resolution: float, corner: tuple[int, int] = (0, 0)) -> None:
        self.image, self.resolution, self.corner = image, resolution, corner

    def fill(self, outline: Points, ink: Ink) -> None:
        cv2.fillPoly(self.image, [self._fixed(outline)], _color(ink), cv2.LINE_AA, _SHIFT)

    def line(self, points: Points, ink: Ink, width: float) -> None:
        """An open line; ``width`` in head units, at least one pixel."""
        thickness = max(1, round(width * self.resolution))
        cv2.polylines(self.image, [self._fixed(points)], False, _color(ink), thickness, cv2.LINE_AA, _SHIFT)

    def disc(self, u: float, v: float, radius: float, ink: Ink) -> None:
        """A filled circle."""
        center = self._fixed(np.array([[u, v]]))[0]
        length = max(1, round(radius * self.resolution * (1 << _SHIFT)))
        cv2.circle(self.image, (int(center[0]), int(center[1])), length, _color(ink), -1, cv2.LINE_AA, _SHIFT)

    @contextmanager
    def inside(self, outline: Points, ground: Ink) -> Iterator["Pen"]:
        """A pen on a plane of one colour, whose part inside the polygon is blended into this image at the end."""
        pixels, (height, width) = to_pixels(outline, self.resolution), self.image.shape[:2]
        left, top = np.clip(np.floor(pixels.min(0)).astype(int) - 1, 0, [width - 1, height - 1])
        right, bottom = np.clip(np.ceil(pixels.max(0)).astype(int) + 2, [left + 1, top + 1], [width, height])
        target = self.image[top:bottom, left:right]
        plane, coverage = np.full_like(target, _color(ground)), np.zeros(target.shape[:2], np.uint8)
        Pen(coverage, self.resolution, (left, top)).fill(outline, 255)
        yield Pen(plane, self.resolution, (left, top))
        weight = (coverage.astype(np.float32) / np.float32(255))[..., None]
        target[:] = (target + weight * (plane.astype(np.float32) - target) + np.float32(0.5)).astype(np.uint8)

    def _fixed(self, points: Points) -> npt.NDArray[np.int32]:
        return np.round((to_pixels(points, self.resolution) - self.corner) * (1 << _SHIFT)).astype(np.int32)


def _color(ink: Ink) -> tuple[float, ...]:
    """OpenCV colour of a grey level 0-255 or of RGB in [0, 1]."""
    return (ink,) if isinstance(ink, int) else tuple((np.clip(ink, 0, 1) * 255).tolist())
