"""The skin, hair and features of one face, drawn on the unrolled canvas."""

import cv2
import numpy as np
import numpy.typing as npt

from pcfrl_lightning.synthetic import canvas
from pcfrl_lightning.synthetic.canvas import Array, Pen, Points
from pcfrl_lightning.synthetic.features import draw_brows, draw_eyes, draw_mouth, draw_nostrils
from pcfrl_lightning.synthetic.layout import Layout, hairline
from pcfrl_lightning.synthetic.parameters import Color, FaceParameters, Identity


def draw_texture(parameters: FaceParameters, layout: Layout, resolution: float) -> npt.NDArray[np.uint8]:
    """One face as (rows, columns, 3) RGB, positions as in ``canvas.to_pixels``, at ``resolution`` pixels per unit."""
    identity = parameters.identity
    rng = np.random.default_rng(identity.texture_seed)
    planes = _soft_shading(layout, resolution)  # a plane per colour: numpy is slow along an axis of three
    planes *= _color(identity.skin)
    # unevenness of the skin
    planes *= _enlarged(1 + _noise(rng, 0.012 + 0.03 * identity.freckles, 21, 30), planes)
    # hair: fine vertical streaks on slow waves
    streaks, waves = _noise(rng, 0.13, 6, 110), 1 + _noise(rng, 0.12, 4, 16)
    hair = _color(identity.hair) * (_enlarged(waves, planes) + _enlarged(streaks, planes))
    for cover in (_beard_cover(identity, layout, resolution), _hair_cover(identity, resolution)):
        if cover is not None:
            planes += (hair - planes) * cover
    _fill_tiles(planes, parameters, hair, resolution)
    np.maximum(planes, 0, out=planes)
    drawing = np.asarray(cv2.merge([cv2.convertScaleAbs(plane, alpha=255) for plane in planes]), dtype=np.uint8)
    pen = Pen(drawing, resolution)
    draw_nostrils(pen, identity, layout)
    draw_mouth(pen, identity, layout)
    draw_eyes(pen, parameters, layout)
    draw_brows(pen, identity, layout)
    return drawing


def _color(values: Color | float) -> Array:
    return np.atleast_1d(np.asarray(values, np.float32))[:, None, None]


def _spots(layout: Layout) -> list[tuple[float, float, float, float, float | Color]]:
    """Permanent shading of a face and the wrinkles of its action units: x, y, width, height and change of the colour.

    A spot is soft and mirrored to both sides by |X|.
    """
    units = layout.units
    mouth = layout.mouth_y + 0.3 * layout.mouth_lift
    brow = float(layout.brow[0, 1])
    return [
        (0.42, -0.24, 0.17, 0.13, (0.02, -0.07, -0.06)),
        (0.0, layout.nose_tip_y, 0.1, 0.06, (0.01, -0.04, -0.04)),
        (layout.eye_x - 0.03, layout.eye_y + 0.09, 0.15, 0.05, -0.12),
        (layout.eye_x, layout.eye_y - 0.1, 0.12, 0.03, -0.08 - 0.14 * units.cheek_up),
        (0.12, -0.08, 0.035, 0.16, -0.1),
        (0.0, layout.nose_base_y - 0.025, 0.12, 0.02, -0.25),
        (0.0, mouth - layout.open_down - layout.lip_lower - 0.045, 0.13, 0.03, -0.18),
        (0.0, 0.4, 0.25, 0.12, 0.04),
        (0.36, -0.13 + 0.04 * units.cheek_up, 0.11, 0.05, 0.12 * units.cheek_up + 0.06 * units.smile),
        # brow lowerer: two vertical furrows; brow raisers: lines across the forehead
        (0.045, brow + 0.03, 0.016, 0.075, -0.5 * units.brow_down),
        (0.0, brow - 0.02, 0.09, 0.05, -0.12 * units.brow_down),
        (0.0, 0.39, 0.16, 0.014, -0.4 * units.inner_brow_up),
        (0.0, 0.46, 0.13, 0.014, -0.35 * units.inner_brow_up),
        (0.33, 0.4, 0.1, 0.014, -0.4 * units.outer_brow_up),
        (0.32, 0.46, 0.08, 0.014, -0.3 * units.outer_brow_up),
        # nose wrinkler: lines across the root and beside the ridge
        (0.0, 0.075, 0.06, 0.014, -0.5 * units.nose_wrinkle),
        (0.0, 0.02, 0.07, 0.014, -0.5 * units.nose_wrinkle),
        (0.09, -0.06, 0.045, 0.016, -0.45 * units.nose_wrinkle),
        (0.1, -0.13, 0.045, 0.016, -0.4 * units.nose_wrinkle),
        # cheek raiser: crow's feet
        (layout.eye_x + 0.22, layout.eye_y + 0.035, 0.045, 0.011, -0.4 * units.cheek_up),
        (layout.eye_x + 0.22, layout.eye_y - 0.03, 0.045, 0.011, -0.4 * units.cheek_up),
        (layout.mouth_width + 0.035, mouth + 0.8 * layout.mouth_lift, 0.025, 0.04, -0.1 - 0.3 * units.smile),
    ]


def _soft_shading(layout: Layout, resolution: float) -> Array:
    """Factor on the skin colour, (3, rows, columns)."""
    rows, columns = canvas.shape(resolution)
    # the canvas is symmetric: shade the right half and mirror it
    x = canvas.arc_length((np.arange(columns // 2, dtype=np.float32) + 0.5) / np.float32(resolution))
    y = canvas.TOP - (np.arange(rows, dtype=np.float32) + 0.5) / np.float32(resolution)
    half = np.ones((3, rows, columns // 2), np.float32)
    for center_x, center_y, width, height, change in _spots(layout):
        if change:
            across, near = _bell(x, center_x, width)
            down, level = _bell(y, center_y, height)
            half[:, level, near] += (down[:, None] * across) * _color(change)
    shading = np.concatenate([half[..., ::-1], half], axis=2)
    _smile_folds(shading, layout, resolution)
    return shading


def _bell(values: Points, center: float, width: float) -> tuple[Array, slice]:
    """Gaussian of height 1 within three widths of its centre, and where that is; ``values`` are monotonic."""
    offset = (values - center) / width
    near = np.flatnonzero(np.abs(offset) < 3)
    where = slice(int(near[0]), int(near[-1]) + 1) if len(near) else slice(0)
    return np.exp(-0.5 * offset[where] ** 2).astype(np.float32), where


def _smile_folds(shading: Array, layout: Layout, resolution: float) -> None:
    """Darken the folds from the nose to the corners of the mouth: smile and nose wrinkler."""
    strength = 0.05 + 0.3 * layout.units.smile + 0.3 * layout.units.nose_wrinkle
    folds = np.zeros(shading.shape[1:], np.uint8)
    pen = Pen(folds, resolution)
    end = (layout.mouth_width + 0.075, layout.mouth_y + layout.mouth_lift + 0.02)
    start = (layout.nose_width + 0.045, layout.nose_base_y + 0.05)
    middle = (0.5 * (start[0] + end[0]) + 0.03, 0.5 * (start[1] + end[1]) + 0.01)
    for side in (-1, 1):
        pen.line(np.array([(side * x, y) for x, y in (start, middle, end)]), 255, 0.028)
    corners = canvas.to_pixels(np.array([[-0.5, -0.1], [0.5, -0.8]]), resolution)  # of the part that has folds
    (left, top), (right, bottom) = np.round(corners).astype(int)
    soft = cv2.blur(folds[top:bottom, left:right], (3, 3))
    shading[:, top:bottom, left:right] *= 1 - np.float32(strength / 255) * soft


def _noise(rng: np.random.Generator, strength: float, rows: int, columns: int) -> Array:
    return np.float32(strength) * rng.standard_normal((rows, columns), dtype=np.float32)


def _enlarged(values: Array, planes: Array) -> Array:
    return np.asarray(cv2.resize(values, planes.shape[:0:-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _hair_cover(identity: Identity, resolution: float) -> Array | None:
    """How much hair hides the skin, 0 to 1; None for a bald head."""
    if identity.hair_style == "bald":
        return None
    x = np.linspace(-2.26, 2.26, 121)
    line = np.stack([canvas.horizontal(x), hairline(identity, x)], axis=1)
    outline = np.concatenate([line, [[canvas.RIGHT, 1.2], [canvas.LEFT, 1.2]]])
    return _cover([(outline, 255)], resolution, blur=3)


def _beard_cover(identity: Identity, layout: Layout, resolution: float) -> Array | None:
    """How much beard and moustache hide the skin; None without any."""
    shapes: list[tuple[Points, int]] = []
    if identity.beard:
        edge = [(0.98, 0.0), (0.86, -0.2), (0.66, -0.45), (layout.mouth_width + 0.1, -0.58), (0.2, -0.72), (0.0, -0.74)]
        outline = np.array([*edge, (0.0, -1.06), (1.0, -1.06)])
        shapes += [(outline * [side, 1], int(230 * identity.beard)) for side in (-1, 1)]
    if identity.moustache:
        y = layout.mouth_y + layout.open_up + layout.lip_upper
        top = layout.nose_base_y - 0.03
        wide = layout.mouth_width * 0.95
        moustache = [(-wide, y - 0.03), (-0.1, top), (0.1, top), (wide, y - 0.03), (0.0, y - 0.01)]
        shapes.append((np.array(moustache), int(230 * identity.moustache)))
    return _cover(shapes, resolution, blur=max(3, 2 * round(0.04 * resolution) + 1)) if shapes else None


def _cover(shapes: list[tuple[Points, int]], resolution: float, blur: int) -> Array:
    """Polygons of opacity 0 to 255 with soft edges, (rows, columns) in [0, 1]."""
    cover = np.zeros(canvas.shape(resolution), np.uint8)
    for outline, opacity in shapes:
        Pen(cover, resolution).fill(outline, opacity)
    return cv2.blur(cover, (blur, blur)).astype(np.float32) / np.float32(255)


def _fill_tiles(planes: Array, parameters: FaceParameters, hair: Array, resolution: float) -> None:
    """Paint the material tiles below the head."""
    top = round((canvas.TOP - canvas.BOTTOM) * resolution)
    edges = np.linspace(0, planes.shape[2], len(canvas.TILES) + 1).astype(int)
    materials = {
        "hair": hair[:, top:, edges[0] : edges[1]],
        "skin": _color(parameters.identity.skin),
        "shirt": _color(parameters.scene.shirt),
        "glasses": _color((0.08, 0.07, 0.07)),
    }
    for number, name in enumerate(canvas.TILES):
        planes[:, top:, edges[number] : edges[number + 1]] = materials[name]
