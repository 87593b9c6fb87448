"""Everything that is attached to the head: ears, neck, shoulders, long hair, glasses."""

import numpy as np

from pcfrl_lightning.synthetic import canvas
from pcfrl_lightning.synthetic.canvas import Array
from pcfrl_lightning.synthetic.layout import Layout
from pcfrl_lightning.synthetic.mesh import Mesh, grid_mesh
from pcfrl_lightning.synthetic.parameters import Identity


def _sphere(rows: int, columns: int) -> Array:
    """Unit sphere as a closed grid, (rows, columns, 3)."""
    polar = np.linspace(0.02, np.pi - 0.02, rows)[:, None]
    azimuth = np.linspace(-np.pi, np.pi, columns)[None, :]
    x, z = np.sin(polar) * np.sin(azimuth), np.sin(polar) * np.cos(azimuth)
    return np.stack([x, np.cos(polar) + 0 * azimuth, z], axis=-1).astype(np.float32)


_EAR = _sphere(7, 11)
_TORSO = _sphere(9, 25)
_NECK_HEIGHT = np.array([-0.62, -0.8, -1.0, -1.2, -1.45, -1.7], dtype=np.float32)
_NECK_AZIMUTH = np.linspace(-np.pi, np.pi, 19, dtype=np.float32)
_SHELL_HEIGHT = np.array([0.62, 0.45, 0.25, 0.0, -0.25, -0.5, -0.75, -1.0, -1.15], dtype=np.float32)
_SHELL_AZIMUTH = np.linspace(np.radians(68), np.radians(292), 23, dtype=np.float32)


def ear_meshes(identity: Identity) -> list[Mesh]:
    """Left and right ear: flat ellipsoids that lean outwards."""
    scale = 1 + 0.22 * identity.shape.ear_size
    side = 0.69 * (1 + 0.09 * identity.shape.face_width)
    grid = _EAR * np.array([0.06, 0.2, 0.12], np.float32) * scale
    grid[..., 0] -= 0.35 * grid[..., 2]  # the back of the ear stands off the head
    right = grid + np.array([side, -0.07, -0.06], np.float32)
    left = (right * np.array([-1, 1, 1], np.float32))[:, ::-1]
    skin = canvas.tile("skin")
    return [grid_mesh(np.ascontiguousarray(ear), skin, 0.88, 0.1) for ear in (left, right)]


def neck_mesh(identity: Identity) -> Mesh:
    """Neck down to the shoulders; darker under the chin."""
    radius = 0.4 * (1 + 0.15 * identity.shape.neck_width)
    flare = np.array([1.0, 0.98, 0.96, 0.98, 1.08, 1.3], np.float32)[:, None] * np.float32(radius)
    x, z = flare * np.sin(_NECK_AZIMUTH), flare * np.cos(_NECK_AZIMUTH) - 0.12
    y = np.repeat(_NECK_HEIGHT[:, None], len(_NECK_AZIMUTH), axis=1)
    shade = np.array([0.5, 0.5, 0.55, 0.7, 0.85, 0.9], np.float32)[:, None]
    return grid_mesh(np.stack([x, y, z], axis=-1), canvas.tile("skin"), shade, 0.05)


def torso_mesh() -> Mesh:
    """Shoulders."""
    grid = _TORSO * np.array([1.25, 0.75, 0.6], np.float32) + np.array([0, -2.12, -0.25], np.float32)
    return grid_mesh(grid, canvas.tile("shirt"), 0.95)


def long_hair_mesh(identity: Identity) -> Mesh:
    """Curtain of hair round the sides and the back, down to the shoulders."""
    width = np.array([0.7, 0.77, 0.8, 0.82, 0.83, 0.83, 0.83, 0.84, 0.8], np.float32)[:, None]
    width = width * np.float32(1 + 0.09 * identity.shape.face_width)
    back = np.array([0.84, 0.93, 0.95, 0.94, 0.9, 0.84, 0.8, 0.78, 0.74], np.float32)[:, None]
    opening = np.linspace(0, 1, len(_SHELL_HEIGHT), dtype=np.float32)[:, None]
    azimuth = np.pi + (_SHELL_AZIMUTH[None, :] - np.pi) * (1 - 0.06 * opening)
    x, z = width * np.sin(azimuth), np.where(np.cos(azimuth) > 0, 0.72, back) * np.cos(azimuth)
    y = np.repeat(_SHELL_HEIGHT[:, None], len(_SHELL_AZIMUTH), axis=1)
    across = np.linspace(0, 1, len(_SHELL_AZIMUTH))[None, :]
    down = np.linspace(0, 1, len(_SHELL_HEIGHT))[:, None]
    grid = np.stack([x, y, z], axis=-1).astype(np.float32)
    return grid_mesh(grid, canvas.tile("hair", across, down), 0.85, 0.12, two_sided=True)


def glasses_meshes(layout: Layout) -> list[Mesh]:
    """Two rims, a bridge and two temple arms, as flat ribbons in front of the eyes."""
    turn = np.linspace(0, 2 * np.pi, 21, dtype=np.float32)
    frame = canvas.tile("glasses")
    meshes = []
    for side in (-1.0, 1.0):
        rim = np.stack([scale * np.stack([np.cos(turn), np.sin(turn)], -1) for scale in (1.0, 0.84)])
        x = side * (layout.eye_x + 0.01) + 0.22 * rim[..., 0]
        y = layout.eye_y - 0.02 + 0.17 * rim[..., 1]
        z = 0.84 - 0.5 * (np.abs(x) - 0.1) ** 2
        meshes.append(grid_mesh(np.stack([x, y, z], -1).astype(np.float32), frame, two_sided=True))
        hinge = layout.eye_x + 0.22
        along = np.array([[hinge, 0.84 - 0.5 * (hinge - 0.1) ** 2], [0.74, 0.35], [0.76, -0.1]])
        arm = np.array([[[side * x, y, z] for x, z in along] for y in (0.06, 0.02)], dtype=np.float32)
        meshes.append(grid_mesh(arm, frame, two_sided=True))
    inner = layout.eye_x - 0.2
    bridge = np.array([[[x, y, 0.845] for x in (-inner, 0.0, inner)] for y in (0.06, 0.025)], dtype=np.float32)
    return [*meshes, grid_mesh(bridge, frame, two_sided=True)]
