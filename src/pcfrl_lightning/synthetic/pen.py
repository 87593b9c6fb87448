"""Drawing on the canvas in head units."""

import cv2
import numpy as np
import numpy.typing as npt

from pcfrl_lightning.synthetic import canvas

_SHIFT = 4  # fractional bits of OpenCV's integer coordinates
_ONE = 1 << _SHIFT

Points = npt.NDArray[np.floating]
Ink = int | npt.NDArray[np.floating]


class Pen:
    """Anti-aliased shapes on one image; points are canvas coordinates (u to the right, v up), (n, 2)."""

    def __init__(self, image: npt.NDArray[np.uint8], resolution: float, corner: tuple[int, int] = (0, 0)) -> None:
        """Draw on ``image``, whose first pixel is the canvas pixel ``corner`` (column, row)."""
        self.image = image
        self.resolution = resolution
        self.corner = corner

    def fill(self, outline: Points, ink: Ink) -> None:
        """Fill a polygon."""
        cv2.fillPoly(self.image, [self._fixed(outline)], _color(ink), cv2.LINE_AA, _SHIFT)

    def line(self, points: Points, ink: Ink, width: float) -> None:
        """Draw an open line; ``width`` in head units, at least one pixel."""
        thickness = max(1, round(width * self.resolution))
        cv2.polylines(self.image, [self._fixed(points)], False, _color(ink), thickness, cv2.LINE_AA, _SHIFT)

    def disc(self, u: float, v: float, radius: float, ink: Ink) -> None:
        """Draw a filled circle."""
        center = self._fixed(np.array([[u, v]]))[0]
        length = max(1, round(radius * self.resolution * _ONE))
        cv2.circle(self.image, (int(center[0]), int(center[1])), length, _color(ink), -1, cv2.LINE_AA, _SHIFT)

    def inside(self, outline: Points) -> tuple["Pen", npt.NDArray[np.uint8]]:
        """A pen on a copy of the polygon's surroundings, and the polygon's coverage there; ends with ``put_back``."""
        pixels = canvas.to_pixels(outline, self.resolution) - self.corner
        height, width = self.image.shape[:2]
        left, top = np.clip(np.floor(pixels.min(0)).astype(int) - 1, 0, [width - 1, height - 1])
        right, bottom = np.clip(np.ceil(pixels.max(0)).astype(int) + 2, [left + 1, top + 1], [width, height])
        corner = (int(left) + self.corner[0], int(top) + self.corner[1])
        copy = Pen(self.image[top:bottom, left:right].copy(), self.resolution, corner)
        mask = Pen(np.zeros(copy.image.shape[:2], np.uint8), self.resolution, corner)
        mask.fill(outline, 255)
        return copy, mask.image

    def put_back(self, copy: "Pen", coverage: npt.NDArray[np.uint8]) -> None:
        """Blend a copy made by ``inside`` into this image where it is covered."""
        rows, columns = coverage.shape
        left, top = copy.corner[0] - self.corner[0], copy.corner[1] - self.corner[1]
        target = self.image[top : top + rows, left : left + columns]
        weight = (coverage.astype(np.float32) / np.float32(255))[..., None]
        target[:] = (target + weight * (copy.image.astype(np.float32) - target) + np.float32(0.5)).astype(np.uint8)

    def region(self, reach: float, top: float, bottom: float) -> tuple[slice, slice]:
        """Rows and columns of the part of the canvas with |u| <= reach and bottom <= v <= top."""
        corners = canvas.to_pixels(np.array([[-reach, top], [reach, bottom]]), self.resolution) - self.corner
        (left, upper), (right, lower) = np.round(corners).astype(int)
        return slice(max(0, upper), lower), slice(max(0, left), right)

    def _fixed(self, points: Points) -> npt.NDArray[np.int32]:
        pixels = canvas.to_pixels(points, self.resolution) - self.corner
        return np.round(pixels * _ONE).astype(np.int32)


def _color(ink: Ink) -> tuple[float, ...]:
    """OpenCV colour of a grey level 0-255 or of RGB in [0, 1]."""
    if isinstance(ink, int):
        return (ink,)
    return tuple(float(value) for value in np.clip(ink, 0, 1) * 255)
