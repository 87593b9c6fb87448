"""Eyes, brows, nostrils and mouth."""

import numpy as np

from pcfrl_lightning.synthetic.canvas import Pen, Points
from pcfrl_lightning.synthetic.layout import Layout
from pcfrl_lightning.synthetic.parameters import FaceParameters, Identity

_T = np.linspace(-1, 1, 15)
_WHITE = np.array([0.93, 0.92, 0.9])
_TEETH = np.array([0.93, 0.9, 0.84])
_CAVITY = np.array([0.16, 0.05, 0.05])
_TONGUE = np.array([0.62, 0.28, 0.28])


def draw_nostrils(pen: Pen, identity: Identity, layout: Layout) -> None:
    """Nostrils and the wings of the nose."""
    dark = np.asarray(identity.skin) * 0.35
    crease = np.asarray(identity.skin) * 0.68
    for side in (-1, 1):
        x, y = side * layout.nose_width * 0.55, layout.nose_base_y + 0.008
        nostril = np.stack([x + 0.038 * np.cos(np.pi * _T), y + 0.02 * np.sin(np.pi * _T)], axis=1)
        pen.fill(nostril, dark)
        wing = np.array([(0.9, -0.015), (1.12, 0.01), (1.15, 0.05), (1.0, 0.085)])
        pen.line(wing * [side * layout.nose_width, 1] + [0, layout.nose_base_y], crease, 0.018)


def draw_brows(pen: Pen, identity: Identity, layout: Layout) -> None:
    """Tapered strips of hair colour."""
    color = 0.75 * np.asarray(identity.hair) + 0.12 * np.asarray(identity.skin)
    taper = np.array([0.8, 1.0, 0.95, 0.75, 0.3]) * layout.brow_thickness * 0.5
    x, y = layout.brow.astype(float).T
    outline = _band(x, y + taper, y - taper)
    for side in (-1, 1):
        pen.fill(outline * [side, 1], color)


def draw_eyes(pen: Pen, parameters: FaceParameters, layout: Layout) -> None:
    """Eyeballs seen through the lids, lashes and the crease of the upper lid."""
    skin = np.asarray(parameters.identity.skin)
    iris = np.asarray(parameters.identity.iris)
    for side in (-1, 1):
        # lids from the left to the right corner, (15, 2) each; a positive tilt raises the outer corner
        lid, center = layout.eye_width * _T, np.array([side * layout.eye_x, layout.eye_y])
        tilt = layout.eye_tilt * side * lid
        upper = np.stack([lid, layout.eye_upper * (1 - np.abs(_T) ** 2.2) + tilt], 1) + center
        lower = np.stack([lid, -layout.eye_lower * (1 - _T**2) + tilt], 1) + center
        outline = np.concatenate([upper, lower[::-1]])
        x = side * layout.eye_x + 0.06 * parameters.gaze[0]
        y = layout.eye_y + 0.012 + 0.025 * parameters.gaze[1]
        with pen.inside(outline, _WHITE) as inner:
            for radius, color in ((0.072, iris * 0.45), (0.062, iris), (0.03, np.full(3, 0.03))):
                inner.disc(x, y, radius, color)
            inner.disc(x + 0.02, y + 0.025, 0.012, np.ones(3))
        crease = upper[2:-2] + np.array([0, 0.035 * (1 - 0.5 * layout.units.brow_down)])
        pen.line(crease, skin * 0.68, 0.014)
        pen.line(upper, skin * 0.2, 0.022)
        pen.line(lower, skin * 0.62, 0.014)


def _bow(height: float, power: float) -> Points:
    """Arc over the width of the mouth: 0 in the corners, ``height`` in the middle."""
    return height * (1 - np.abs(_T) ** power)


def draw_mouth(pen: Pen, identity: Identity, layout: Layout) -> None:
    """Lips and, when they part, what is behind them."""
    skin = np.asarray(identity.skin)
    red = np.array([0.72, 0.32, 0.32])
    lips = skin * (1 - 0.55 * identity.lip_redness) * [0.95, 0.78, 0.78] + red * 0.5 * identity.lip_redness
    x = layout.mouth_width * _T
    middle = layout.mouth_y + layout.mouth_lift * np.abs(_T) ** 1.8
    upper_inner = middle + _bow(layout.open_up, 2.5)
    lower_inner = middle - _bow(layout.open_down, 3.5)
    cupid = 1 - 0.22 * np.exp(-((_T / 0.16) ** 2))
    upper_outer = upper_inner + _bow(layout.lip_upper, 1.6) * cupid
    lower_outer = lower_inner - _bow(layout.lip_lower, 2.4)

    pen.fill(_band(x, upper_outer, middle), lips * 0.86)
    pen.fill(_band(x, middle, lower_outer), lips * 1.06)
    if layout.open_up + layout.open_down > 0:
        _draw_opening(pen, layout, x, upper_inner, lower_inner)
    else:
        pen.line(np.stack([x, middle], 1), skin * 0.3, 0.02)
    corner = np.array([[layout.mouth_width, middle[-1]], [layout.mouth_width + 0.02, middle[-1] + 0.012]])
    for side in (-1, 1):
        pen.line(corner * [side, 1], skin * 0.4, 0.02)


def _band(x: Points, top: Points, bottom: Points) -> Points:
    return np.concatenate([np.stack([x, top], 1), np.stack([x, bottom], 1)[::-1]])


def _draw_opening(pen: Pen, layout: Layout, x: Points, top: Points, bottom: Points) -> None:
    """Dark cavity, teeth and, with a dropped jaw, the tongue."""
    gap = layout.open_up + layout.open_down
    with pen.inside(_band(x, top, bottom), _CAVITY) as inner:
        if layout.units.jaw_drop > 0.3:
            inner.disc(0.0, float(bottom.min()) - 0.02, 0.1, _TONGUE)
        teeth = min(0.055, 0.6 * gap)
        inner.fill(_band(x * 0.8, top + 0.02, top - _bow(teeth, 6)), _TEETH)
        if layout.units.jaw_drop <= 0.3 and layout.units.smile > 0.3:
            inner.fill(_band(x * 0.7, bottom + 0.02, bottom - 0.02), _TEETH * 0.9)
