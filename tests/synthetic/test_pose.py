"""Signs of the angles, on the rotation alone."""

import numpy as np
import pytest

from pcfrl_lightning.synthetic.mesh import rotation_matrix

NOSE, RIGHT_EYE, LEFT_EYE = np.array([0, 0, 1.0]), np.array([0.3, 0, 0.7]), np.array([-0.3, 0, 0.7])


def test_no_angles_no_rotation():
    np.testing.assert_allclose(rotation_matrix(0, 0, 0), np.eye(3))


def test_positive_yaw_turns_the_face_to_the_left_of_the_image():
    nose = rotation_matrix(30, 0, 0) @ NOSE
    np.testing.assert_allclose(nose, [-0.5, 0, np.cos(np.radians(30))], atol=1e-12)


def test_positive_pitch_looks_up():
    nose = rotation_matrix(0, 30, 0) @ NOSE
    np.testing.assert_allclose(nose, [0, 0.5, np.cos(np.radians(30))], atol=1e-12)


def test_positive_roll_lowers_the_eye_on_the_right_of_the_image():
    rotation = rotation_matrix(0, 0, 20)
    assert (rotation @ RIGHT_EYE)[1] < (rotation @ LEFT_EYE)[1]


@pytest.mark.parametrize("angles", [(50, 20, 10), (-35, -12, 18), (5, 30, -20)])
def test_a_proper_rotation_that_a_mirror_turns_into_that_of_negated_yaw_and_roll(angles):
    yaw, pitch, roll = angles
    rotation = rotation_matrix(yaw, pitch, roll)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    mirror = np.diag([-1, 1, 1])
    np.testing.assert_allclose(mirror @ rotation @ mirror, rotation_matrix(-yaw, pitch, -roll), atol=1e-12)


def test_roll_comes_first_then_yaw_then_pitch():
    both = rotation_matrix(40, 25, 15)
    np.testing.assert_allclose(both, rotation_matrix(0, 25, 0) @ rotation_matrix(40, 0, 0) @ rotation_matrix(0, 0, 15))


def test_agrees_with_the_labelled_rotations_of_aflw2000(shared_data):
    """Undoing the labelled rotation brings the 3D landmarks of different faces together."""
    import io
    import zipfile

    from scipy.io import loadmat

    archive = shared_data / "aflw2000_sample.zip"
    if not archive.is_file():
        pytest.skip(f"{archive.name} is not among the sample data")
    raw, undone = [], []
    with zipfile.ZipFile(archive) as sample:
        for name in sample.namelist():
            if not name.endswith(".mat"):
                continue
            content = loadmat(io.BytesIO(sample.read(name)))
            pitch, yaw, roll = np.degrees(content["Pose_Para"][0, :3].astype(float))
            points = content["pt3d_68"].T.astype(float) * [1, -1, 1]
            points -= points.mean(0)
            points /= np.linalg.norm(points)
            raw.append(points)
            undone.append(points @ rotation_matrix(yaw, pitch, roll))
    spread = [np.linalg.norm(faces - np.mean(faces, axis=0), axis=(1, 2)).mean() for faces in (raw, undone)]
    assert spread[1] < 0.1
    assert spread[0] > 4 * spread[1]
