"""Vectorised z-buffer: which triangle each pixel shows, and where in that triangle."""

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
    origin = points[triangles[:, 0]]
    edge_1 = points[triangles[:, 1]] - origin
    edge_2 = points[triangles[:, 2]] - origin
    area = edge_1[:, 0] * edge_2[:, 1] - edge_1[:, 1] * edge_2[:, 0]
    relative = np.stack([np.zeros_like(edge_1), edge_1, edge_2])
    low = np.ceil(origin + relative.min(0) - 0.5).astype(np.int32)
    high = np.floor(origin + relative.max(0) - 0.5).astype(np.int32)
    # y points down, so a counter-clockwise triangle has a negative area here
    kept = ((area < -1e-6) | (two_sided & (area > 1e-6))) & (high >= low).all(1)
    kept &= (high >= 0).all(1) & (low < size).all(1)
    extent = (high - low).max(1) + 1

    pieces = []
    smallest = 0
    for window in _WINDOWS:
        chosen = np.flatnonzero(kept & (extent > smallest) & (extent <= window))
        smallest = window
        if len(chosen):
            start = low[chosen]
            offset = (start + np.float32(0.5) - origin[chosen]).astype(np.float32)
            pieces.append(
                _inside(chosen, start, offset, edge_1[chosen], edge_2[chosen], area[chosen], window, size)
            )
    if not pieces:
        empty = np.zeros(0, np.float32)
        return Fragments(np.zeros(0, np.int64), np.zeros(0, np.int64), empty, empty)
    pixel, triangle, weight_1, weight_2 = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    corner = depth[triangles[triangle]]
    nearness = corner[:, 0] + weight_1 * (corner[:, 1] - corner[:, 0]) + weight_2 * (corner[:, 2] - corner[:, 0])
    order = np.argsort(nearness, kind="stable")
    winner = np.full(size * size, -1, np.int64)
    winner[pixel[order]] = order  # of repeated indices the last value stays: the nearest fragment
    shown = winner[winner >= 0]
    return Fragments(pixel[shown], triangle[shown], weight_1[shown], weight_2[shown])


def _inside(
    chosen: Index,
    start: npt.NDArray[np.int32],
    offset: Array,
    edge_1: Array,
    edge_2: Array,
    area: Array,
    window: int,
    size: int,
) -> tuple[Index, Index, Array, Array]:
    """Fragments of the chosen triangles whose pixel centre lies inside, hidden ones included."""
    step_y, step_x = (axis.ravel() for axis in np.mgrid[:window, :window].astype(np.int32))
    # the barycentric weights are linear in the pixel position: value at the window's first pixel + two slopes
    inverse = (1 / area)[:, None]
    slope_1 = np.stack([edge_2[:, 1], -edge_2[:, 0]], 1) * inverse
    slope_2 = np.stack([-edge_1[:, 1], edge_1[:, 0]], 1) * inverse
    steps = np.stack([step_x, step_y]).astype(np.float32)
    weight_1 = slope_1 @ steps + (slope_1 * offset).sum(1)[:, None]
    weight_2 = slope_2 @ steps + (slope_2 * offset).sum(1)[:, None]
    tolerance = np.float32(1e-4)  # keeps a pixel centre on a shared edge from falling between both triangles
    inside = (weight_1 >= -tolerance) & (weight_2 >= -tolerance) & (weight_1 + weight_2 <= 1 + tolerance)
    row, column = np.nonzero(inside)
    x = start[row, 0] + step_x[column]
    y = start[row, 1] + step_y[column]
    visible = (x >= 0) & (x < size) & (y >= 0) & (y < size)
    row, column, x, y = row[visible], column[visible], x[visible], y[visible]
    return y.astype(np.int64) * size + x, chosen[row], weight_1[row, column], weight_2[row, column]
