"""Vectorised z-buffer: which triangle each pixel shows, and where in that triangle."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pcfrl_lightning.synthetic.mesh import Array, Index

Pixels = npt.NDArray[np.int32]

# Triangles are handled in groups of similar size: each group tests one square window of pixels per triangle.
_WINDOWS = (2, 3, 4, 5, 6, 8, 11, 16, 24, 36, 54, 80, 128, 256, 512, 1024)


class Fragments(NamedTuple):
    """Visible pixels: flat pixel index, triangle shown there and weights of its second and third corner, (P,) each."""

    pixel: Index
    triangle: Index
    weight_1: Array
    weight_2: Array


def rasterise(points: Array, depth: Array, triangles: Index, two_sided: npt.NDArray[np.bool_], size: int) -> Fragments:
    """The nearest surface in each covered pixel of a square image of side ``size``.

    ``points`` (V, 2) are image positions (x right, y down), pixel (i, j) having its centre at (j + 0.5, i + 0.5); a
    larger ``depth`` (V,) is nearer. ``triangles`` (T, 3) are counter-clockwise as seen from outside; those of
    ``two_sided`` (T,) are also seen from behind.
    """
    x, y = (axis.take(triangles.T) for axis in points.T)  # (3, T) each: numpy is slow along a short last axis
    area = (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0])
    # y points down, so a counter-clockwise triangle has a negative area here
    facing = (area < -1e-6) | (two_sided & (area > 1e-6))
    (left, right), (top, bottom) = _pixel_range(x), _pixel_range(y)
    extent = np.maximum(right - left, bottom - top) + 1
    kept = np.flatnonzero(facing & (extent > 0) & (right >= 0) & (bottom >= 0) & (left < size) & (top < size))
    group = np.searchsorted(_WINDOWS, extent[kept])
    order = np.argsort(group, kind="stable")
    kept = kept[order]
    ends = np.searchsorted(group[order], np.arange(len(_WINDOWS) + 1))

    x, y, left, top, area = x[:, kept], y[:, kept], left[kept], top[kept], area[kept]
    pieces = []
    for window, start, end in zip(_WINDOWS, ends[:-1], ends[1:], strict=True):
        if start < end:
            part = slice(start, end)
            found = _inside(x[:, part], y[:, part], left[part], top[part], area[part], window, size)
            pieces.append((found[0], kept[part].take(found[1]), *found[2:]))
    if not pieces:
        empty = np.zeros(0, np.float32)
        return Fragments(np.zeros(0, np.int64), np.zeros(0, np.int64), empty, empty)
    pixel, triangle, weight_1, weight_2 = (np.concatenate(parts) for parts in zip(*pieces, strict=True))
    near = depth[triangles]
    nearness = near[:, 0].take(triangle)
    nearness += weight_1 * (near[:, 1] - near[:, 0]).take(triangle)
    nearness += weight_2 * (near[:, 2] - near[:, 0]).take(triangle)
    order = np.argsort(_sixteen_bits(nearness), kind="stable")  # radix sort
    winner = np.full(size * size, -1, np.int64)
    winner[pixel[order]] = order  # of repeated indices the last value stays: the nearest fragment
    shown = winner[winner >= 0]
    return Fragments(pixel[shown], triangle[shown], weight_1[shown], weight_2[shown])


def _sixteen_bits(values: Array) -> npt.NDArray[np.uint16]:
    """Values in 65,536 equal steps from the smallest to the largest; far finer than any gap between two surfaces."""
    low = values.min()
    span = max(float(values.max() - low), 1e-6)
    return ((values - low) * np.float32(65535 / span)).astype(np.uint16)


def _pixel_range(positions: Array) -> tuple[Pixels, Pixels]:
    """First and last pixel along one axis whose centre a triangle can cover, from the corners (3, T)."""
    first, last = np.ceil(positions.min(axis=0) - 0.5), np.floor(positions.max(axis=0) - 0.5)
    return first.astype(np.int32), last.astype(np.int32)


def _inside(
    x: Array, y: Array, left: Pixels, top: Pixels, area: Array, window: int, size: int
) -> tuple[Index, Index, Array, Array]:
    """Pixels whose centre lies inside one of some triangles: pixel, row of the triangle and both weights."""
    step = np.arange(window, dtype=np.float32) + np.float32(0.5)
    across, down = (
        step + (first.astype(np.float32) - origin)[:, None] for first, origin in ((left, x[0]), (top, y[0]))
    )
    # the barycentric weights are linear in the pixel position: a term of its column plus one of its row
    edge_x, edge_y = (x[1:] - x[0]) / area, (y[1:] - y[0]) / area
    weight_1 = (across * edge_y[1][:, None])[:, None, :] - (down * edge_x[1][:, None])[:, :, None]
    weight_2 = (down * edge_x[0][:, None])[:, :, None] - (across * edge_y[0][:, None])[:, None, :]
    tolerance = np.float32(1e-4)  # keeps a pixel centre on a shared edge from falling between both triangles
    inside = np.minimum(weight_1, weight_2) >= -tolerance
    inside &= weight_1 + weight_2 <= 1 + tolerance
    found = np.flatnonzero(inside)  # (row * window + line) * window + column
    line = found // window
    row = line // window
    column, line = found - line * window + left.take(row), line - row * window + top.take(row)
    visible = (column >= 0) & (column < size) & (line >= 0) & (line < size)
    if not visible.all():
        found, row, column, line = found[visible], row[visible], column[visible], line[visible]
    return line * size + column, row, weight_1.take(found), weight_2.take(found)
