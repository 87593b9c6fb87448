"""Vectorised z-buffer: which triangle each pixel shows, and where in that triangle."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]

# Triangles are handled in groups of similar size: each group tests one square window of pixels per triangle.
_WINDOWS = (2, 3, 4, 5, 6, 8, 11, 16, 24, 36, 54, 80, 128, 256, 512, 1024)


class Fragments(NamedTuple):
    """Visible pixels: flat pixel index, triangle shown there and weights of its second and third corner, (P,) each."""

    pixel: Index
    triangle: Index
    weight_1: Array
    weight_2: Array


def rasterise(points: Array, depth: Array, triangles: Index, two_sided: npt.NDArray[np.bool_], size: int) -> Fragments:
    """Rasterise triangles into a square image, nearest surface first.

    Args:
        points: ``(V, 2)`` image positions (x right, y down), pixel (i, j) having its centre at (j + 0.5, i + 0.5).
        depth: ``(V,)``; the larger value is nearer to the viewer.
        triangles: ``(T, 3)`` corners; counter-clockwise as seen by the viewer for the outer side.
        two_sided: ``(T,)`` triangles that are also seen from behind.
        size: side of the image.

    Returns:
        One fragment for each covered pixel.
    """
    origin, second, third = points[triangles[:, 0]], points[triangles[:, 1]], points[triangles[:, 2]]
    edge_1, edge_2 = second - origin, third - origin
    area = edge_1[:, 0] * edge_2[:, 1] - edge_1[:, 1] * edge_2[:, 0]
    # y points down, so a counter-clockwise triangle has a negative area here
    facing = np.flatnonzero((area < -1e-6) | (two_sided & (area > 1e-6)))
    origin, second, third = origin[facing], second[facing], third[facing]
    edge_1, edge_2, area = edge_1[facing], edge_2[facing], area[facing]
    low = np.ceil(np.minimum(np.minimum(origin, second), third) - 0.5).astype(np.int32)
    high = np.floor(np.maximum(np.maximum(origin, second), third) - 0.5).astype(np.int32)
    extent = np.maximum(high[:, 0] - low[:, 0], high[:, 1] - low[:, 1]) + 1
    kept = (high[:, 0] >= np.maximum(low[:, 0], 0)) & (high[:, 1] >= np.maximum(low[:, 1], 0))
    kept &= (low[:, 0] < size) & (low[:, 1] < size)

    pieces = []
    smallest = 0
    for window in _WINDOWS:
        chosen = np.flatnonzero(kept & (extent > smallest) & (extent <= window))
        smallest = window
        if len(chosen):
            start = low[chosen]
            offset = (start + np.float32(0.5) - origin[chosen]).astype(np.float32)
            pixel, row, weight_1, weight_2 = _inside(
                start, offset, edge_1[chosen], edge_2[chosen], area[chosen], window, size
            )
            pieces.append((pixel, facing[chosen[row]], weight_1, weight_2))
    if not pieces:
        empty = np.zeros(0, np.float32)
        return Fragments(np.zeros(0, np.int64), np.zeros(0, np.int64), empty, empty)
    pixel, triangle, weight_1, weight_2 = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    corner = depth[triangles[triangle]]
    nearness = corner[:, 0] + weight_1 * (corner[:, 1] - corner[:, 0]) + weight_2 * (corner[:, 2] - corner[:, 0])
    order = np.argsort(_sixteen_bits(nearness), kind="stable")  # radix sort
    winner = np.full(size * size, -1, np.int64)
    winner[pixel[order]] = order  # of repeated indices the last value stays: the nearest fragment
    shown = winner[winner >= 0]
    return Fragments(pixel[shown], triangle[shown], weight_1[shown], weight_2[shown])


@lru_cache(maxsize=len(_WINDOWS))
def _window(side: int) -> Array:
    """Row and column offset of each pixel of a square window, (2, side * side)."""
    return np.mgrid[:side, :side].reshape(2, -1).astype(np.float32)


def _sixteen_bits(values: Array) -> npt.NDArray[np.uint16]:
    """Values in 65,536 equal steps from the smallest to the largest; far finer than any gap between two surfaces."""
    low = values.min()
    span = max(float(values.max() - low), 1e-6)
    return ((values - low) * np.float32(65535 / span)).astype(np.uint16)


def _inside(
    start: npt.NDArray[np.int32],
    offset: Array,
    edge_1: Array,
    edge_2: Array,
    area: Array,
    window: int,
    size: int,
) -> tuple[Index, Index, Array, Array]:
    """Pixels whose centre lies inside one of some triangles: pixel, row of the triangle and both weights."""
    step_y, step_x = _window(window)
    # the barycentric weights are linear in the pixel position: value at the window's first pixel + two slopes
    inverse = (1 / area)[:, None]
    slope_1 = np.stack([edge_2[:, 1], -edge_2[:, 0]], 1) * inverse
    slope_2 = np.stack([-edge_1[:, 1], edge_1[:, 0]], 1) * inverse
    x, y = step_x + offset[:, :1], step_y + offset[:, 1:]
    weight_1 = slope_1[:, :1] * x + slope_1[:, 1:] * y
    weight_2 = slope_2[:, :1] * x + slope_2[:, 1:] * y
    tolerance = np.float32(1e-4)  # keeps a pixel centre on a shared edge from falling between both triangles
    inside = (weight_1 >= -tolerance) & (weight_2 >= -tolerance) & (weight_1 + weight_2 <= 1 + tolerance)
    row, column = np.nonzero(inside)
    image_x = start[row, 0] + step_x[column].astype(np.int64)
    image_y = start[row, 1] + step_y[column].astype(np.int64)
    visible = (image_x >= 0) & (image_x < size) & (image_y >= 0) & (image_y < size)
    row, column = row[visible], column[visible]
    return image_y[visible] * size + image_x[visible], row, weight_1[row, column], weight_2[row, column]
