"""What defines a rendered face: the person, expression and pose, and the scene. Sampling is deterministic."""

from collections import namedtuple
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pcfrl_lightning.synthetic.expressions import ACTION_UNITS, EXPRESSIONS, sample_action_units

POSE_RANGE: tuple[float, float, float] = (60.0, 30.0, 20.0)
"""Largest absolute yaw, pitch and roll in degrees."""

HAIR_STYLES = ("bald", "short", "parted", "fringe", "long", "long_fringe", "round", "receding")

# First number of every seed sequence, so that identities and faces never share random numbers.
_IDENTITY, _FACE = range(2)

_SKIN = np.array([[240, 203, 180], [228, 180, 150], [214, 164, 126], [178, 124, 88], [128, 84, 58], [88, 58, 42]]) / 255
_HAIR = [[28, 22, 20], [58, 38, 26], [96, 62, 36], [142, 92, 48], [206, 168, 102], [158, 70, 32], [150, 148, 146]]
_IRIS = np.array([[62, 38, 22], [96, 64, 34], [88, 112, 58], [74, 122, 160], [110, 124, 132]]) / 255

Color = tuple[float, ...]


# Bone and soft tissue of one person; every field is in [-1, 1] with 0 the average head.
HeadShape = namedtuple(
    "HeadShape",
    "face_width head_depth jaw_width chin_length chin_depth cheekbone cheek_fat brow_ridge nose_length nose_width "
    "nose_depth nose_hook eye_spacing eye_size eye_openness eye_tilt brow_height brow_thickness brow_arch mouth_width "
    "mouth_height lip_thickness ear_size neck_width",
)
_AVERAGE = HeadShape(*[0.0] * len(HeadShape._fields))


@dataclass(frozen=True)
class Identity:
    """One person: shape, colours (RGB in [0, 1]), hair and accessories."""

    shape: HeadShape = _AVERAGE
    skin: Color = (0.93, 0.75, 0.63)
    hair: Color = (0.25, 0.16, 0.1)
    iris: Color = (0.3, 0.2, 0.12)
    lip_redness: float = 0.5
    hair_style: str = "short"
    hairline: float = 0.0
    beard: float = 0.0
    moustache: float = 0.0
    glasses: bool = False
    freckles: float = 0.0
    texture_seed: int = 0


@dataclass(frozen=True)
class Scene:
    """Everything about one picture that is not the person: light, background, camera, sensor."""

    light: tuple[float, ...] = (0.25, 0.4, 0.88)  # unit vector towards the light in the camera frame
    light_color: Color = (1.0, 1.0, 1.0)  # RGB factor of the directional light
    ambient: float = 0.4  # strength of the light from everywhere, 0 to 1
    exposure: float = 1.0  # overall factor
    background: str = "plain"  # 'gradient', 'blobs', 'noise' or 'plain'
    shift: tuple[float, float] = (0.0, 0.0)  # of the head as a fraction of the image side (x to the right, y up)
    zoom: float = 1.0  # factor of the head's size
    noise: float = 0.0  # standard deviation of the sensor noise in grey levels
    shirt: Color = (0.3, 0.35, 0.45)
    seed: int = 0  # randomness of background and noise


@dataclass(frozen=True)
class FaceParameters:
    """Complete description of one picture; ``render(parameters, size)`` is a pure function of it."""

    identity: Identity = field(default_factory=Identity)
    action_units: tuple[float, ...] = (0.0,) * len(ACTION_UNITS)  # intensities 0 to 5 in the order of `ACTION_UNITS`
    yaw: float = 0.0  # degrees, signs of `mesh.rotation_matrix`
    pitch: float = 0.0
    roll: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)  # eye direction, -1 to 1, positive to the right of the image and up
    scene: Scene = field(default_factory=Scene)
    identity_id: int = 0  # number of the person
    expression: int = 6  # FER-2013 code

    @property
    def pose(self) -> tuple[float, float, float]:
        """Yaw, pitch and roll in degrees."""
        return self.yaw, self.pitch, self.roll


def _between(palette: npt.NDArray[np.float64], position: float) -> Color:
    """Colour at a position in [0, 1] along a palette of shape (k, 3)."""
    stops = np.linspace(0, 1, len(palette))
    return tuple(float(np.interp(position, stops, channel)) for channel in palette.T)


def sample_identity(seed: int, identity_id: int) -> Identity:
    """Draw person number ``identity_id`` of the population ``seed``; always the same person for the same numbers."""
    rng = np.random.default_rng([seed, _IDENTITY, identity_id])
    shape = HeadShape(*np.clip(rng.normal(0, 0.55, len(HeadShape._fields)), -1, 1).tolist())
    tone = rng.random()
    dark = rng.random() < tone
    hair = np.array(_HAIR[int(rng.integers(2 if dark else len(_HAIR)))]) / 255 * rng.uniform(0.8, 1.2)
    style = HAIR_STYLES[int(rng.integers(len(HAIR_STYLES)))]
    bearded = not style.startswith("long") and rng.random() < 0.45
    return Identity(
        shape=shape,
        skin=_between(_SKIN, tone),
        hair=tuple(hair.tolist()),
        iris=_between(_IRIS, float(rng.random()) * (0.35 if tone > 0.6 else 1.0)),
        lip_redness=float(rng.uniform(0.2, 1.0)),
        hair_style=style,
        hairline=float(rng.uniform(-1, 1)),
        beard=float(rng.uniform(0.3, 1.0)) if bearded else 0.0,
        moustache=float(rng.uniform(0.4, 1.0)) if bearded and rng.random() < 0.6 else 0.0,
        glasses=bool(rng.random() < 0.2),
        freckles=float(rng.uniform(0, 1)),
        texture_seed=int(rng.integers(2**31)),
    )


def sample_scene(rng: np.random.Generator) -> Scene:
    """Draw light, background and camera of one picture."""
    light = np.array([rng.uniform(-1, 1), rng.uniform(-0.2, 0.9), rng.uniform(0.45, 1.1)])
    light /= np.linalg.norm(light)
    warmth = rng.uniform(-0.12, 0.12)
    shirt = rng.uniform(0.08, 0.85, 3)
    return Scene(
        light=tuple(light.tolist()),
        light_color=(float(1 + warmth), 1.0, float(1 - warmth)),
        ambient=float(rng.uniform(0.3, 0.65)),
        exposure=float(rng.uniform(0.75, 1.15)),
        background=("gradient", "blobs", "noise")[int(rng.integers(3))],
        shift=(float(rng.uniform(-0.04, 0.04)), float(rng.uniform(-0.04, 0.04))),
        zoom=float(rng.uniform(0.92, 1.12)),
        noise=float(rng.uniform(0, 6)),
        shirt=tuple(shirt.tolist()),
        seed=int(rng.integers(2**31)),
    )


def sample_face(
    seed: int, index: int, identity_id: int, pose_range: tuple[float, float, float] = POSE_RANGE
) -> FaceParameters:
    """Draw picture ``index`` of the population ``seed``, showing person ``identity_id``.

    ``pose_range``: largest absolute yaw, pitch and roll in degrees.
    """
    rng = np.random.default_rng([seed, _FACE, index])
    expression = int(rng.integers(len(EXPRESSIONS)))
    intensities = sample_action_units(expression, rng)
    yaw, pitch, roll = (float(rng.uniform(-limit, limit)) for limit in pose_range)
    return FaceParameters(
        identity=sample_identity(seed, identity_id),
        action_units=tuple(intensities.astype(float).tolist()),
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        gaze=(float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.3, 0.3))),
        scene=sample_scene(rng),
        identity_id=identity_id,
        expression=expression,
    )
