"""Grids of vertices and their triangles."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Index = npt.NDArray[np.int64]


class Mesh(NamedTuple):
    """A surface.

    Attributes:
        points: ``(V, 3)`` positions.
        normals: ``(V, 3)`` unit outward normals.
        coordinates: ``(V, 2)`` texture position in the units of ``canvas``.
        occlusion: ``(V,)`` factor on the light that arrives.
        gloss: ``(V,)`` strength of the highlight.
        triangles: ``(T, 3)`` corners.
        two_sided: ``(T,)`` seen from both sides.
    """

    points: Array
    normals: Array
    coordinates: Array
    occlusion: Array
    gloss: Array
    triangles: Index
    two_sided: npt.NDArray[np.bool_]


@lru_cache(maxsize=64)
def grid_triangles(rows: int, columns: int) -> Index:
    """Two triangles for each cell of a grid: rows run down, columns run to the right as seen from outside."""
    first = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)[None, :]).ravel()
    right, below = first + 1, first + columns
    triangles = np.concatenate([np.stack([first, below, right], 1), np.stack([right, below, below + 1], 1)])
    triangles.setflags(write=False)
    return triangles


def grid_normals(grid: Array) -> Array:
    """Unit normals of a ``(rows, columns, 3)`` grid that follows the orientation of ``grid_triangles``."""
    down = np.empty_like(grid)
    down[1:-1] = grid[2:] - grid[:-2]
    down[0], down[-1] = grid[1] - grid[0], grid[-1] - grid[-2]
    right = np.empty_like(grid)
    right[:, 1:-1] = grid[:, 2:] - grid[:, :-2]
    right[:, 0], right[:, -1] = grid[:, 1] - grid[:, 0], grid[:, -1] - grid[:, -2]
    normals = np.empty_like(grid)
    for axis in range(3):
        one, two = (axis + 1) % 3, (axis + 2) % 3
        normals[..., axis] = down[..., one] * right[..., two] - down[..., two] * right[..., one]
    length = np.sqrt((normals**2).sum(-1, keepdims=True))
    return normals / np.maximum(length, np.float32(1e-9))


def grid_mesh(
    grid: Array, coordinates: Array, occlusion: Array | float = 1, gloss: Array | float = 0, two_sided: bool = False
) -> Mesh:
    """Mesh of one ``(rows, columns, 3)`` grid; ``coordinates`` broadcasts to ``(rows, columns, 2)``."""
    shape = grid.shape[:2]
    triangles = grid_triangles(*shape)
    return Mesh(
        grid.reshape(-1, 3),
        grid_normals(grid).reshape(-1, 3),
        np.broadcast_to(coordinates, (*shape, 2)).reshape(-1, 2).astype(np.float32),
        np.broadcast_to(np.asarray(occlusion, np.float32), shape).ravel(),
        np.broadcast_to(np.asarray(gloss, np.float32), shape).ravel(),
        triangles,
        np.full(len(triangles), two_sided),
    )


def join(meshes: list[Mesh]) -> Mesh:
    """One mesh from many."""
    starts = np.cumsum([0, *(len(mesh.points) for mesh in meshes[:-1])])
    shifted = [mesh._replace(triangles=mesh.triangles + start) for mesh, start in zip(meshes, starts, strict=True)]
    return Mesh(*(np.concatenate(parts) for parts in zip(*shifted, strict=True)))
