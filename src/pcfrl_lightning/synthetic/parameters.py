"""What defines a rendered face: the person, expression and pose, and the scene. Sampling is deterministic."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pcfrl_lightning.synthetic.expressions import ACTION_UNITS, EXPRESSIONS, sample_action_units

POSE_RANGE: tuple[float, float, float] = (60.0, 30.0, 20.0)
"""Largest absolute yaw, pitch and roll in degrees."""

HAIR_STYLES: tuple[str, ...] = ("bald", "short", "parted", "fringe", "long", "long_fringe", "round", "receding")

# First number of every seed sequence, so that identities, faces and pairs never share random numbers.
_IDENTITY, _FACE, _SAME_POSE, _SAME_IDENTITY = range(4)

_SKIN = np.array([[240, 203, 180], [228, 180, 150], [214, 164, 126], [178, 124, 88], [128, 84, 58], [88, 58, 42]]) / 255
_HAIR = (
    np.array([[28, 22, 20], [58, 38, 26], [96, 62, 36], [142, 92, 48], [206, 168, 102], [158, 70, 32], [150, 148, 146]])
    / 255
)
_IRIS = np.array([[62, 38, 22], [96, 64, 34], [88, 112, 58], [74, 122, 160], [110, 124, 132]]) / 255

Color = tuple[float, float, float]


class HeadShape(NamedTuple):
    """Bone and soft tissue of one person; every field is in [-1, 1] with 0 the average head."""

    face_width: float = 0.0
    head_depth: float = 0.0
    jaw_width: float = 0.0
    chin_length: float = 0.0
    chin_depth: float = 0.0
    cheekbone: float = 0.0
    cheek_fat: float = 0.0
    brow_ridge: float = 0.0
    nose_length: float = 0.0
    nose_width: float = 0.0
    nose_depth: float = 0.0
    nose_hook: float = 0.0
    eye_spacing: float = 0.0
    eye_size: float = 0.0
    eye_openness: float = 0.0
    eye_tilt: float = 0.0
    brow_height: float = 0.0
    brow_thickness: float = 0.0
    brow_arch: float = 0.0
    mouth_width: float = 0.0
    mouth_height: float = 0.0
    lip_thickness: float = 0.0
    ear_size: float = 0.0
    neck_width: float = 0.0


@dataclass(frozen=True)
class Identity:
    """One person: shape, colours (RGB in [0, 1]), hair and accessories."""

    shape: HeadShape = field(default_factory=HeadShape)
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
    """Everything about one picture that is not the person: light, background, camera, sensor.

    Attributes:
        light: unit vector towards the light in the camera frame.
        light_color: RGB factor of the directional light.
        ambient: strength of the light from everywhere, 0 to 1.
        exposure: overall factor.
        background: 'gradient', 'blobs', 'noise' or 'plain'.
        shift: displacement of the head as a fraction of the image side (x to the right, y up).
        zoom: factor of the head's size.
        noise: standard deviation of the sensor noise in grey levels.
        shirt: RGB of the clothes.
        seed: randomness of background and noise.
        mirrored: whether the background is drawn mirrored (see ``FaceParameters.mirrored``).
    """

    light: tuple[float, float, float] = (0.25, 0.4, 0.88)
    light_color: Color = (1.0, 1.0, 1.0)
    ambient: float = 0.4
    exposure: float = 1.0
    background: str = "plain"
    shift: tuple[float, float] = (0.0, 0.0)
    zoom: float = 1.0
    noise: float = 0.0
    shirt: Color = (0.3, 0.35, 0.45)
    seed: int = 0
    mirrored: bool = False


@dataclass(frozen=True)
class FaceParameters:
    """Complete description of one picture; ``render(parameters, size)`` is a pure function of it.

    Attributes:
        identity: the person.
        action_units: intensities 0 to 5 in the order of ``ACTION_UNITS`` (1, 2, 4, 6, 9, 12, 25, 26).
        yaw, pitch, roll: degrees, signs of ``pose.rotation_matrix``.
        gaze: horizontal and vertical eye direction, -1 to 1, positive to the right of the image and up.
        identity_id: number of the person.
        expression: FER-2013 code.
    """

    identity: Identity = field(default_factory=Identity)
    action_units: tuple[float, ...] = (0.0,) * len(ACTION_UNITS)
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    scene: Scene = field(default_factory=Scene)
    identity_id: int = 0
    expression: int = 6

    @property
    def pose(self) -> tuple[float, float, float]:
        """Yaw, pitch and roll in degrees."""
        return self.yaw, self.pitch, self.roll

    def with_pose(self, pose: tuple[float, float, float]) -> "FaceParameters":
        """The same picture at another (yaw, pitch, roll) in degrees."""
        yaw, pitch, roll = pose
        return replace(self, yaw=yaw, pitch=pitch, roll=roll)

    def mirrored(self) -> "FaceParameters":
        """Parameters of the horizontally flipped picture (exact up to noise, freckles, hair strands and parting)."""
        scene = self.scene
        return replace(
            self,
            yaw=-self.yaw,
            roll=-self.roll,
            gaze=(-self.gaze[0], self.gaze[1]),
            scene=replace(
                scene,
                light=(-scene.light[0], scene.light[1], scene.light[2]),
                shift=(-scene.shift[0], scene.shift[1]),
                mirrored=not scene.mirrored,
            ),
        )


def _three(values: npt.NDArray[np.float64]) -> Color:
    red, green, blue = values.tolist()
    return red, green, blue


def _between(palette: npt.NDArray[np.float64], position: float) -> Color:
    """Colour at a position in [0, 1] along a palette of shape (k, 3)."""
    stops = np.linspace(0, 1, len(palette))
    return _three(np.array([np.interp(position, stops, channel) for channel in palette.T]))


def sample_identity(seed: int, identity_id: int) -> Identity:
    """Draw person number ``identity_id`` of the population ``seed``; always the same person for the same numbers."""
    rng = np.random.default_rng([seed, _IDENTITY, identity_id])
    shape = HeadShape(*np.clip(rng.normal(0, 0.55, len(HeadShape._fields)), -1, 1).tolist())
    tone = rng.random()
    dark = rng.random() < tone
    hair = _HAIR[int(rng.integers(0, 2) if dark else rng.integers(0, len(_HAIR)))] * rng.uniform(0.8, 1.2)
    style = HAIR_STYLES[int(rng.integers(len(HAIR_STYLES)))]
    bearded = not style.startswith("long") and rng.random() < 0.45
    return Identity(
        shape=shape,
        skin=_between(_SKIN, tone),
        hair=_three(hair),
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
        light=_three(light),
        light_color=(float(1 + warmth), 1.0, float(1 - warmth)),
        ambient=float(rng.uniform(0.3, 0.65)),
        exposure=float(rng.uniform(0.75, 1.15)),
        background=("gradient", "blobs", "noise")[int(rng.integers(3))],
        shift=(float(rng.uniform(-0.04, 0.04)), float(rng.uniform(-0.04, 0.04))),
        zoom=float(rng.uniform(0.92, 1.12)),
        noise=float(rng.uniform(0, 6)),
        shirt=_three(shirt),
        seed=int(rng.integers(2**31)),
    )


def _sample_picture(
    rng: np.random.Generator, seed: int, identity_id: int, pose_range: tuple[float, float, float] = POSE_RANGE
) -> FaceParameters:
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


def sample_face(
    seed: int, index: int, identity_id: int, pose_range: tuple[float, float, float] = POSE_RANGE
) -> FaceParameters:
    """Draw picture ``index`` of the population ``seed``, showing person ``identity_id``.

    Args:
        seed: number of the population; another seed gives other people.
        index: number of the picture.
        identity_id: number of the person.
        pose_range: largest absolute yaw, pitch and roll in degrees.
    """
    return _sample_picture(np.random.default_rng([seed, _FACE, index]), seed, identity_id, pose_range)


def pair_same_pose(seed: int, index: int, identities: int = 200) -> tuple[FaceParameters, FaceParameters]:
    """Two different people at exactly the same pose; expression, light and background are independent.

    Raises:
        ValueError: if there are fewer than two identities.
    """
    if identities < 2:
        raise ValueError(f"identities must be at least 2 to draw two different people, not {identities}")
    rng = np.random.default_rng([seed, _SAME_POSE, index])
    one = int(rng.integers(identities))
    other = (one + int(rng.integers(1, identities))) % identities
    first = _sample_picture(rng, seed, one)
    second = _sample_picture(rng, seed, other)
    return first, second.with_pose(first.pose)


def pair_same_identity(seed: int, index: int, identities: int = 200) -> tuple[FaceParameters, FaceParameters]:
    """Two pictures of one person; pose, expression, light and background are independent."""
    rng = np.random.default_rng([seed, _SAME_IDENTITY, index])
    person = int(rng.integers(identities))
    first = _sample_picture(rng, seed, person)
    return first, _sample_picture(rng, seed, person)
