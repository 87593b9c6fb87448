"""Where the features of a face lie, given shape and action units.

Canonical face plane: ``X`` is arc length around the head (0 = middle of the face, positive to the right of a frontal
image), ``Y`` height (chin -1, crown +1). Geometry and texture read the same layout, so that bumps and drawing agree.
"""

from typing import NamedTuple

import numpy as np

from pcfrl_lightning.synthetic.canvas import Array, Points
from pcfrl_lightning.synthetic.expressions import MAX_INTENSITY
from pcfrl_lightning.synthetic.parameters import HAIR_STYLES, FaceParameters, HeadShape, Identity

ARC = 0.72
"""Arc length per radian of azimuth."""

# Hairline of the average short cut: height over |X|, from the forehead over temple, sideburn and ear to the nape.
_HAIR_X = np.array([0.0, 0.3, 0.5, 0.68, 0.8, 0.95, 1.05, 1.2, 1.4, 2.3])
_HAIR_Y = np.array([0.66, 0.66, 0.62, 0.48, 0.22, 0.02, -0.08, -0.02, -0.45, -0.6])
_RECEDING_Y = np.array([0.82, 0.9, 0.82, 0.6, 0.3, 0.05, -0.08, -0.02, -0.45, -0.6])

HAIR_THICKNESS = dict(zip(HAIR_STYLES, (0.0, 0.06, 0.1, 0.1, 0.1, 0.11, 0.26, 0.03), strict=True))
"""How far hair stands off the skull, by style."""


class Units(NamedTuple):
    """Strength of each action unit, 0 to 1."""

    inner_brow_up: float
    outer_brow_up: float
    brow_down: float
    cheek_up: float
    nose_wrinkle: float
    smile: float
    lips_part: float
    jaw_drop: float


class Layout:
    """Positions and sizes in the canonical plane; features are symmetric, x is that of the right side of the image.

    ``units``, the action units, move the features; ``brow`` (5, 2) is its middle line from the inner to the outer end.
    """

    def __init__(self, parameters: FaceParameters) -> None:
        units = self.units = Units(*(value / MAX_INTENSITY for value in parameters.action_units))
        shape = parameters.identity.shape
        squeeze = (1 - 0.22 * units.brow_down) * (1 - 0.3 * units.nose_wrinkle)
        raised = 1 + 0.14 * (units.inner_brow_up + units.outer_brow_up) * (1 - units.brow_down)
        openness = 1 + 0.2 * shape.eye_openness
        nose_base = -0.37 - 0.05 * shape.nose_length
        self.eye_x = 0.31 + 0.03 * shape.eye_spacing
        self.eye_y = 0.02
        self.eye_width = 0.165 * (1 + 0.13 * shape.eye_size)
        self.eye_upper = 0.09 * openness * squeeze * raised * (1 - 0.3 * units.cheek_up)
        self.eye_lower = 0.055 * openness * squeeze * (1 - 0.8 * units.cheek_up)
        self.eye_tilt = 0.18 * shape.eye_tilt
        self.brow = _brow(shape, units)
        self.brow_thickness = 0.056 * (1 + 0.45 * shape.brow_thickness)
        self.nose_tip_y = nose_base + 0.08
        self.nose_base_y = nose_base + 0.035 * units.nose_wrinkle
        self.nose_width = 0.105 * (1 + 0.28 * shape.nose_width) * (1 + 0.15 * units.nose_wrinkle)
        self.mouth_y = -0.62 + 0.03 * shape.mouth_height
        wide = 0.25 * (1 + 0.15 * shape.mouth_width)
        self.mouth_width = wide * (1 + 0.36 * units.smile) * (1 - 0.14 * units.jaw_drop)
        self.mouth_lift = 0.12 * units.smile - 0.008
        self.open_up = 0.03 * units.lips_part + 0.035 * units.nose_wrinkle * (units.lips_part > 0)
        self.open_down = 0.07 * units.lips_part + 0.12 * units.jaw_drop
        self.lip_upper = 0.056 * (1 + 0.4 * shape.lip_thickness) * (1 - 0.3 * units.smile)
        self.lip_lower = 0.074 * (1 + 0.4 * shape.lip_thickness) * (1 - 0.2 * units.smile)


def _brow(shape: HeadShape, units: Units) -> Array:
    x = np.array([0.1, 0.19, 0.29, 0.39, 0.48])
    outward = np.linspace(0, 1, 5)
    y = 0.2 + 0.03 * shape.brow_height + np.array([-0.005, 0.015, 0.035, 0.025, -0.025])
    y += 0.02 * shape.brow_arch * np.array([0, 0.5, 1, 0.7, 0])
    y += 0.12 * units.inner_brow_up * (1 - outward) ** 1.2 + 0.11 * units.outer_brow_up * outward**0.7
    y -= units.brow_down * (0.045 + 0.06 * (1 - outward)) + 0.025 * units.nose_wrinkle * (1 - outward)
    x = x - 0.04 * units.brow_down * (1 - outward)
    return np.stack([x, y], axis=1).astype(np.float32)


def hairline(identity: Identity, x: Points) -> Points:
    """Lowest height that is covered by hair at each signed arc length ``x``; above the crown for a bald head."""
    style = identity.hair_style
    if style == "bald":
        return np.full(x.shape, 2.0)
    height = np.interp(np.abs(x), _HAIR_X, _RECEDING_Y if style == "receding" else _HAIR_Y)
    front = np.clip((0.75 - np.abs(x)) / 0.2, 0, 1)
    height += 0.06 * identity.hairline * front
    if style.endswith("fringe"):
        height -= 0.26 * front
    if style == "parted":
        height += front * np.clip(0.14 * (x + 0.12) / 0.3, -0.16, 0.1)
    return height
