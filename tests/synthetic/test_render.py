"""What a rendered picture shows: sign conventions, action units, occlusion, determinism, true labels."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from pcfrl_lightning.synthetic import ACTION_UNITS, FaceParameters, Identity, Scene, sample_face
from pcfrl_lightning.synthetic.parameters import sample_identity
from pcfrl_lightning.synthetic.render import render

SIZE = 96
PLAIN = FaceParameters(identity=Identity(hair_style="bald", iris=(0.1, 0.9, 0.1)), scene=Scene(light=(0.0, 0.2, 0.98)))


def _turned(yaw=0.0, pitch=0.0, roll=0.0):
    return replace(PLAIN, yaw=yaw, pitch=pitch, roll=roll)


def _irises(image):
    """Mask of the iris, which is made green for the purpose."""
    red, green, blue = image.astype(int).transpose(2, 0, 1)
    return (green > red + 40) & (green > blue + 40)


def _eyes(image):
    """Centre (x, y) and area of the green spots in the left and in the right half of what is green."""
    y, x = np.nonzero(_irises(image))
    middle = 0.5 * (x.min() + x.max())
    return [(x[side].mean(), y[side].mean(), side.sum()) for side in (x < middle, x >= middle)]


def _with_units(face, **strengths):
    units = tuple(float(strengths.get(f"au{unit}", 0)) for unit in ACTION_UNITS)
    return replace(face, action_units=units)


@pytest.mark.parametrize("size", [48, 64, 100, 128, 256])
def test_any_size(size):
    image = render(sample_face(0, 0, 0), size)
    assert image.shape == (size, size, 3)
    assert image.dtype == np.uint8
    assert image.std() > 15


@pytest.mark.parametrize("size", [0, 16, 512])
def test_size_out_of_range_is_refused(size):
    with pytest.raises(ValueError, match="size must be between"):
        render(PLAIN, size)


def test_larger_pictures_show_the_same_face():
    face = sample_face(0, 3, 1)
    face = replace(face, scene=replace(face.scene, noise=0.0))
    small = render(face, 64).astype(float)
    large = render(face, 128).reshape(64, 2, 64, 2, 3).mean((1, 3))
    assert np.abs(small - large).mean() < 4


def test_positive_yaw_moves_the_face_to_the_left_and_negative_to_the_right():
    left, front, right = (np.mean([eye[0] for eye in _eyes(render(_turned(yaw=a), SIZE))]) for a in (25, 0, -25))
    assert left < front - 8
    assert right > front + 8


def test_positive_pitch_moves_the_face_up():
    up, front, down = (np.mean([eye[1] for eye in _eyes(render(_turned(pitch=a), SIZE))]) for a in (20, 0, -20))
    assert up < front - 4
    assert down > front + 4


def test_positive_roll_lowers_the_eye_on_the_right():
    left, right = _eyes(render(_turned(roll=15), SIZE))
    assert right[1] > left[1] + 4
    left, right = _eyes(render(_turned(roll=-15), SIZE))
    assert right[1] < left[1] - 4


def test_the_far_eye_of_a_turned_head_is_hidden_or_narrower():
    front = [eye[2] for eye in _eyes(render(_turned(), 128))]
    assert front[0] == pytest.approx(front[1], rel=0.15)
    # turned to the left of the image, the eye on the left is the far one: the ridge of the nose is in front of it
    turned = render(_turned(yaw=60), 128)
    total = _irises(turned).sum()
    assert total < 0.62 * sum(front)
    assert total > 0.1 * sum(front)


def test_back_of_the_head_hides_the_face():
    assert _irises(render(_turned(yaw=150), SIZE)).sum() == 0


@pytest.mark.parametrize("index", range(6))
def test_mirrored_parameters_render_the_flipped_picture(index):
    face = sample_face(0, index, index)
    style = "short" if face.identity.hair_style == "parted" else face.identity.hair_style
    face = replace(
        face,
        identity=replace(face.identity, freckles=0.0, hair_style=style),
        scene=replace(face.scene, noise=0.0, background="plain"),
    )
    (x, y, z), (right, up) = face.scene.light, face.scene.shift
    scene = replace(face.scene, light=(-x, y, z), shift=(-right, up))
    mirrored = replace(face, yaw=-face.yaw, roll=-face.roll, gaze=(-face.gaze[0], face.gaze[1]), scene=scene)
    flipped = render(face, SIZE)[:, ::-1].astype(int)
    # strands of hair and the glint in the eye are the only things that do not mirror
    assert np.abs(render(mirrored, SIZE) - flipped).mean() < 3
    if abs(face.yaw) > 5:
        wrong = replace(mirrored, yaw=face.yaw, roll=face.roll)
        assert np.abs(render(wrong, SIZE) - flipped).mean() > 8


# rows of a frontal 96-pixel picture; the brows lie in 30 to 42, the root of the nose between the eyes in 38 to 48
REGIONS = {"scalp": (8, 24), "brows": (24, 44), "eyes": (36, 55), "nose": (38, 64), "mouth": (62, 90)}
MOST_AND_LEAST = {
    1: ("brows", "mouth"),
    2: ("brows", "mouth"),
    4: ("brows", "mouth"),
    6: ("eyes", "mouth"),
    9: ("nose", "scalp"),  # it also pulls the brows down and the upper lip up
    12: ("mouth", "brows"),
    25: ("mouth", "brows"),
    26: ("mouth", "brows"),
}


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_action_unit_changes_its_own_region(unit):
    neutral, active = (render(face, SIZE).astype(float) for face in (PLAIN, _with_units(PLAIN, **{f"au{unit}": 5})))
    change = np.abs(active - neutral).mean(-1)[:, 20:76]
    amount = {name: change[top:bottom].mean() for name, (top, bottom) in REGIONS.items()}
    most, least = MOST_AND_LEAST[unit]
    assert amount[most] > 1.5
    assert amount[most] > 4 * amount[least]


@pytest.mark.parametrize("unit", ACTION_UNITS)
def test_intensity_grows_step_by_step(unit):
    neutral = render(PLAIN, SIZE).astype(float)
    changes = [
        np.abs(render(_with_units(PLAIN, **{f"au{unit}": level}), SIZE) - neutral).mean() for level in range(1, 6)
    ]
    assert changes[0] > 0
    assert all(later > earlier for earlier, later in pairwise(changes))


def test_brows_rise_and_fall():
    def brow_height(face):
        dark = render(face, SIZE).astype(int).sum(-1)[25:47, 35:61]
        weight = np.clip(300 - dark, 0, None)
        return (weight * np.arange(len(weight))[:, None]).sum() / weight.sum()

    assert brow_height(_with_units(PLAIN, au1=5, au2=5)) < brow_height(PLAIN) < brow_height(_with_units(PLAIN, au4=5))


def test_light_comes_from_where_it_should():
    for sign in (-1, 1):
        image = render(replace(PLAIN, scene=Scene(light=(sign * 0.8, 0.0, 0.6))), SIZE).astype(float)
        face = image[35:75, 28:68].mean(-1)
        assert sign * (face[:, 20:].mean() - face[:, :20].mean()) > 20


def test_same_pixels_in_another_process():
    code = (
        "import hashlib\n"
        "from pcfrl_lightning.synthetic import sample_face\n"
        "from pcfrl_lightning.synthetic.render import render\n"
        "print(hashlib.sha256(b''.join(render(sample_face(5, i, i), 64).tobytes() for i in (3, 2, 1))).hexdigest())\n"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    here = {i: render(sample_face(5, i, i), 64).tobytes() for i in (1, 2, 3)}
    assert other.stdout.strip() == hashlib.sha256(here[3] + here[2] + here[1]).hexdigest()


def test_people_look_different_and_one_person_looks_the_same():
    faces = [replace(PLAIN, identity=sample_identity(0, number)) for number in range(8)]
    images = [render(face, 64).astype(float) for face in faces]
    for one in range(8):
        for two in range(one):
            assert np.abs(images[one] - images[two]).mean() > 4
    assert (render(faces[0], 64) == images[0]).all()


def test_a_linear_model_finds_the_pose():
    """The labels are true: ridge regression on oriented gradients predicts each angle far better than the mean does."""
    from skimage.feature import hog

    count, train = 500, 400
    faces = [sample_face(0, index, index % 30) for index in range(count)]
    features = np.stack([hog(render(face, 48).mean(-1), 8, (6, 6), (2, 2)) for face in faces])
    pose = np.array([face.pose for face in faces])
    features -= features[:train].mean(0)
    kernel = features @ features[:train].T
    ridge = 0.3 * np.trace(kernel[:train]) / train
    mean = pose[:train].mean(0)
    weights = np.linalg.solve(kernel[:train] + ridge * np.eye(train), pose[:train] - mean)
    error = np.abs(kernel[train:] @ weights + mean - pose[train:]).mean(0)
    chance = np.abs(mean - pose[train:]).mean(0)
    assert error[0] < 0.4 * chance[0]
    assert (error < 0.75 * chance).all()
