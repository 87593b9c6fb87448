"""Grids of vertices and their triangles, and how a head is turned."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pcfrl_lightning.synthetic.canvas import Array

Index = npt.NDArray[np.int64]


class Mesh(NamedTuple):
    """A surface."""

    points: Array  # (V, 3) positions
    normals: Array  # (V, 3) unit outward normals
    coordinates: Array  # (V, 2) texture position in the units of `canvas`
    occlusion: Array  # (V,) factor on the light that arrives
    gloss: Array  # (V,) strength of the highlight
    triangles: Index  # (T, 3) corners
    two_sided: npt.NDArray[np.bool_]  # (T,) seen from both sides


@lru_cache(maxsize=64)
def grid_triangles(rows: int, columns: int) -> Index:
    """Two triangles for each cell of a grid: rows run down, columns run to the right as seen from outside."""
    first = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)[None, :]).ravel()
    right, below = first + 1, first + columns
    triangles = np.concatenate([np.stack([first, below, right], 1), np.stack([right, below, below + 1], 1)])
    triangles.setflags(write=False)
    return triangles


def grid_mesh(
    grid: Array, coordinates: Array, occlusion: Array | float = 1, gloss: Array | float = 0, two_sided: bool = False
) -> Mesh:
    """Mesh of one ``(rows, columns, 3)`` grid; ``coordinates`` broadcasts to ``(rows, columns, 2)``."""
    shape = grid.shape[:2]
    triangles = grid_triangles(*shape)
    normals = np.cross(*np.gradient(grid, axis=(0, 1)))  # outward, as rows run down and columns to the right
    normals /= np.maximum(np.sqrt((normals**2).sum(-1, keepdims=True)), np.float32(1e-9))
    return Mesh(
        grid.reshape(-1, 3),
        normals.reshape(-1, 3),
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


def rotation_matrix(yaw: float, pitch: float, roll: float) -> npt.NDArray[np.float64]:
    """(3, 3) matrix R of angles in degrees: the column vector p in head coordinates is R @ p for the camera.

    The angles are those of 300W-LP and AFLW2000-3D. Camera frame: x to the right of the image, y up, z towards the
    viewer. Positive yaw turns the face to the left side of the image, positive pitch looks up, positive roll lowers the
    eye on the right side of the image. The matrices compose as ``Rx(pitch) @ Ry(yaw) @ Rz(roll)``: of the six possible
    orders this is the one under which the 3D landmarks of AFLW2000-3D faces coincide best after their labelled rotation
    is undone.
    """
    y, x, z = np.radians([yaw, pitch, roll])
    about_x = np.array([[1, 0, 0], [0, np.cos(x), np.sin(x)], [0, -np.sin(x), np.cos(x)]])
    about_y = np.array([[np.cos(y), 0, -np.sin(y)], [0, 1, 0], [np.sin(y), 0, np.cos(y)]])
    about_z = np.array([[np.cos(z), np.sin(z), 0], [-np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return about_x @ about_y @ about_z
