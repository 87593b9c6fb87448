"""The surfaces of a picture: the head, swept from crown to chin, with Gaussian bumps for the features; ears, neck,
shoulders, long hair and glasses.

Head coordinates: x to the right of a frontal image, y up, z out of the face; chin at y = -1, crown at y = +1.
"""

import numpy as np

from pcfrl_lightning.synthetic import canvas
from pcfrl_lightning.synthetic.canvas import Array, Points
from pcfrl_lightning.synthetic.layout import ARC, HAIR_THICKNESS, Layout, hairline
from pcfrl_lightning.synthetic.mesh import Mesh, grid_mesh
from pcfrl_lightning.synthetic.parameters import HeadShape, Identity

# Average head from crown to chin: height, half width, depth in front of and behind the axis.
_PROFILE = np.array(
    [
        [1.00, 0.97, 0.90, 0.78, 0.60, 0.40, 0.20, 0.00, -0.20, -0.40, -0.60, -0.75, -0.88, -0.96, -1.00],
        [0.00, 0.21, 0.37, 0.52, 0.63, 0.69, 0.71, 0.71, 0.70, 0.675, 0.62, 0.545, 0.43, 0.31, 0.20],
        [0.00, 0.22, 0.40, 0.55, 0.66, 0.72, 0.735, 0.73, 0.73, 0.73, 0.73, 0.725, 0.70, 0.64, 0.54],
        [0.00, 0.26, 0.46, 0.66, 0.80, 0.86, 0.86, 0.80, 0.70, 0.58, 0.45, 0.36, 0.30, 0.26, 0.22],
    ]
)
# Canonical height of each row: dense over the features, three rows under the chin.
HEIGHT = np.concatenate(
    [1 - 0.4 * np.linspace(0, 1, 9) ** 1.7, np.linspace(0.6, -0.92, 36)[1:], [-0.955, -0.98, -1.0]]
).astype(np.float32)
# Azimuth of each column in radians, dense over the face, from the back round to the back.
_HALF = np.concatenate([np.linspace(0, np.radians(100), 26), np.linspace(np.radians(100), np.pi, 8)[1:]])
AZIMUTH = np.concatenate([-_HALF[:0:-1], _HALF]).astype(np.float32)
X = ARC * AZIMUTH
"""Arc length of each column."""
_SECTIONS = np.stack([np.interp(-HEIGHT, -_PROFILE[0], row) for row in _PROFILE[1:]]).astype(np.float32)
_SINE, _COSINE = np.sin(AZIMUTH), np.cos(AZIMUTH)


def _grid(*axes: Points) -> Array:
    """Coordinates (rows, columns, number of axes) from arrays that broadcast to (rows, columns)."""
    return np.stack(np.broadcast_arrays(*axes), axis=-1).astype(np.float32)


_COORDINATES = _grid(canvas.horizontal(X)[None, :], np.maximum(HEIGHT, -1.03)[:, None])


def _bell(values: Array, center: float, width: float) -> Array:
    """Gaussian of height 1."""
    return np.exp(-0.5 * ((values - np.float32(center)) / np.float32(width)) ** 2)


def _step(values: Points, start: float, end: float) -> Points:
    """Smooth step from 0 at ``start`` to 1 at ``end``; ``end`` may be the smaller one."""
    t = np.clip((values - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)


def head_mesh(identity: Identity, layout: Layout) -> Mesh:
    """Surface of the head with hair volume, without ears and neck."""
    shape = identity.shape
    width, front, back = _SECTIONS
    jaw = 0.14 * shape.jaw_width * _step(HEIGHT, -0.2, -0.75) + 0.07 * shape.cheek_fat * _bell(HEIGHT, -0.45, 0.2)
    width = width * (1 + 0.09 * shape.face_width + jaw).astype(np.float32)
    depth = np.float32(1 + 0.07 * shape.head_depth)
    x = width[:, None] * _SINE
    z = np.where(_COSINE > 0, (front * depth)[:, None], (back * depth)[:, None]) * _COSINE
    z = z + _relief(shape, layout)
    # 1 where hair grows, 0 on bare skin, (rows, columns)
    cover = _step(HEIGHT[:, None] - hairline(identity, X)[None, :], 0.0, 0.1).astype(np.float32)
    swell = 1 + HAIR_THICKNESS[identity.hair_style] * cover
    x, z = x * swell, z * swell
    y = HEIGHT[:, None] + np.maximum(HEIGHT, 0)[:, None] * (swell - 1)
    lower = _step(HEIGHT, -0.55, -0.9)[:, None]
    y = y - (0.07 * shape.chin_length + 0.2 * layout.units.jaw_drop) * lower
    z = z - 0.05 * layout.units.jaw_drop * lower
    occlusion = np.where(HEIGHT < -0.95, 0.75, 1.0)[:, None]
    return grid_mesh(_grid(x, y, z), _COORDINATES, occlusion, (1 - cover) * 0.22 + cover * 0.12)


def _relief(shape: HeadShape, layout: Layout) -> Array:
    """How far each vertex stands out along z because of the features, (rows, columns)."""
    units = layout.units
    both = np.abs(X)
    mouth_y = layout.mouth_y + 0.3 * layout.mouth_lift
    cheek = 0.03 + 0.025 * shape.cheekbone + 0.06 * units.cheek_up + 0.025 * units.smile
    bumps = [  # (X centre, X width, Y centre, Y width, height); two-sided features use |X|
        (layout.eye_x, 0.16, layout.eye_y + 0.03, 0.095, -0.075 - 0.015 * shape.brow_ridge),
        (layout.eye_x, 0.085, layout.eye_y, 0.065, 0.04),
        (0.24, 0.2, 0.19, 0.06, 0.03 + 0.025 * shape.brow_ridge + 0.015 * units.brow_down),
        (0.42, 0.15, -0.17 + 0.05 * units.cheek_up, 0.13, cheek),
        (0.45, 0.16, -0.45, 0.15, -0.03 + 0.05 * shape.cheek_fat),
        (0.0, 0.26, -0.56, 0.2, 0.05),
        (0.0, 0.17, mouth_y + 0.045 + layout.open_up, 0.035, 0.035 + 0.012 * shape.lip_thickness),
        (0.0, 0.15, mouth_y - 0.05 - layout.open_down, 0.04, 0.04 + 0.012 * shape.lip_thickness),
        (0.0, 0.16, mouth_y - 0.16 - 0.5 * layout.open_down, 0.045, -0.035),
        (0.0, 0.15, -0.9, 0.1, 0.06 + 0.05 * shape.chin_depth),
        (layout.mouth_width + 0.04, 0.05, mouth_y + layout.mouth_lift, 0.06, -0.025 * (0.4 + units.smile)),
        (layout.nose_width * 0.85, 0.045, layout.nose_base_y + 0.045, 0.055, 0.085),
        (0.0, 0.075, layout.nose_tip_y, 0.065, 0.06),
    ]
    across = np.stack([_bell(both, x, width) for x, width, _, _, _ in bumps])
    down = np.stack([height * _bell(HEIGHT, y, width) for _, _, y, width, height in bumps])
    # the nose from its root between the eyes to the tip
    tip, base = layout.nose_tip_y, layout.nose_base_y
    depth = 0.23 * (1 + 0.28 * shape.nose_depth)
    stops = np.array([base - 0.04, base, tip, 0.5 * (tip + 0.12), 0.12, 0.26])
    middle = depth * (0.55 + 0.16 * shape.nose_hook)
    heights = np.array([0.0, 0.55 * depth, depth, middle, 0.03, 0.0])
    ridge = np.interp(HEIGHT, stops, heights)
    width = np.interp(HEIGHT, stops, np.array([0.1, 0.1, 0.085, 0.065, 0.06, 0.08])) * (1 + 0.2 * shape.nose_width)
    nose = ridge[:, None] * np.exp(-0.5 * (X[None, :] / width[:, None]) ** 2)
    return (np.einsum("br,bc->rc", down, across) + nose).astype(np.float32)


def _sphere(rows: int, columns: int) -> Array:
    """Unit sphere as a closed grid, (rows, columns, 3)."""
    polar = np.linspace(0.02, np.pi - 0.02, rows)[:, None]
    azimuth = np.linspace(-np.pi, np.pi, columns)[None, :]
    return _grid(np.sin(polar) * np.sin(azimuth), np.cos(polar), np.sin(polar) * np.cos(azimuth))


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
    shade = np.array([0.5, 0.5, 0.55, 0.7, 0.85, 0.9], np.float32)[:, None]
    return grid_mesh(_grid(x, _NECK_HEIGHT[:, None], z), canvas.tile("skin"), shade, 0.05)


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
    across = np.linspace(0, 1, len(_SHELL_AZIMUTH))[None, :]
    down = np.linspace(0, 1, len(_SHELL_HEIGHT))[:, None]
    grid = _grid(x, _SHELL_HEIGHT[:, None], z)
    return grid_mesh(grid, canvas.tile("hair", across, down), 0.85, 0.12, two_sided=True)


def glasses_meshes(layout: Layout) -> list[Mesh]:
    """Two rims, a bridge and two temple arms, as flat ribbons in front of the eyes."""
    turn = np.linspace(0, 2 * np.pi, 21, dtype=np.float32)
    frame = canvas.tile("glasses")
    meshes = []
    for side in (-1.0, 1.0):
        rim = np.stack([scale * np.stack([np.cos(turn), np.sin(turn)]) for scale in (1.0, 0.84)], axis=1)
        x = side * (layout.eye_x + 0.01) + 0.22 * rim[0]
        y = layout.eye_y - 0.02 + 0.17 * rim[1]
        meshes.append(grid_mesh(_grid(x, y, 0.84 - 0.5 * (np.abs(x) - 0.1) ** 2), frame, two_sided=True))
        hinge = layout.eye_x + 0.22
        along = np.array([[hinge, 0.84 - 0.5 * (hinge - 0.1) ** 2], [0.74, 0.35], [0.76, -0.1]])
        arm = np.array([[[side * x, y, z] for x, z in along] for y in (0.06, 0.02)], dtype=np.float32)
        meshes.append(grid_mesh(arm, frame, two_sided=True))
    inner = layout.eye_x - 0.2
    bridge = np.array([[[x, y, 0.845] for x in (-inner, 0.0, inner)] for y in (0.06, 0.025)], dtype=np.float32)
    return [*meshes, grid_mesh(bridge, frame, two_sided=True)]
