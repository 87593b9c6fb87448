"""Faces of every release with landmarks, turned upright by them."""

import zipfile

import numpy as np
import pytest

import trees
from pcfrl_lightning.data.cropping.croppers import NoCrop, UnsuitableCropping, UprightCrop
from pcfrl_lightning.data.cropping.geometry import cut_turned, upright_angles, upright_squares
from pcfrl_lightning.data.releases.affectnet import AffectNet7
from pcfrl_lightning.data.releases.celeba import CelebA
from pcfrl_lightning.data.releases.cplfw import CPLFW
from pcfrl_lightning.data.releases.disfa import DISFA
from pcfrl_lightning.data.releases.landmarks300w import Landmarks300W
from pcfrl_lightning.data.releases.lfw import LFW
from pcfrl_lightning.data.releases.points import read_mat
from pcfrl_lightning.data.releases.rafdb import RAFDB
from pcfrl_lightning.data.releases.w300lp import W300LP_AFLW2000

FIVE = np.array([[30, 20], [48, 28], [36, 34], [26, 38], [40, 45]])  # about 24 degrees clockwise
LINES = "".join(f"{x} {y}\n" for x, y in FIVE)


def ibug(count):
    """68 or 66 points: jaw and the rest at the nose tip, eyes and mouth corners as in FIVE."""
    points = np.tile(FIVE[2], (count, 1)).astype(float)
    points[36:42], points[42:48], points[48], points[54] = FIVE[0], FIVE[1], FIVE[3], FIVE[4]
    return points


def rafdb(root):
    trees.rafdb(root)
    for path in (root / "basic/Annotation/manual").iterdir():
        path.write_text(f"{LINES}0\n1\n2\n")
    return lambda cropping: RAFDB(root, cropping=cropping, images="original")


def cplfw(root):
    trees.cplfw(root)
    for path in (root / "images").glob("*_5loc_attri.txt"):
        path.write_text(LINES)
    return lambda cropping: CPLFW(root, cropping=cropping, folder="images")


def celeba(root):
    path = trees.celeba(root) / "list_landmarks_align_celeba.txt"
    count, names, *rows = path.read_text().splitlines()
    rows = [" ".join([row.split()[0], *map(str, FIVE.ravel())]) for row in rows]
    path.write_text("\n".join([count, names, *rows]))
    return lambda cropping: CelebA(root, cropping=cropping)


def affectnet_arrays(root):
    for path in trees.affectnet_arrays(root).rglob("*_lnd.npy"):
        np.save(path, ibug(68).ravel())
    return lambda cropping: AffectNet7(root, cropping=cropping)


def affectnet_csv(root):
    points = ";".join(f"{x};{y}" for x, y in ibug(68))
    for path in trees.affectnet_csv(root).rglob("*.csv"):
        lines = [line.split(",") for line in path.read_text().splitlines()]
        path.write_text("\n".join(",".join([*f[:5], f[5] if f[6] == "expression" else points, *f[6:]]) for f in lines))
    return lambda cropping: AffectNet7(root, cropping=cropping)


def disfa(root):
    trees.disfa_frames(trees.disfa_labels(root), "img", "png")
    trees.disfa_landmarks(root, ibug(66), first=1)
    return lambda cropping: DISFA(root, cropping=cropping, subjects=trees.DISFA_SUBJECTS)


@pytest.mark.parametrize(
    ("release", "points"),
    [
        (rafdb, FIVE), (cplfw, FIVE), (celeba, FIVE),
        (affectnet_arrays, ibug(68)), (affectnet_csv, ibug(68)), (disfa, ibug(66)),
    ],
)  # fmt: skip
def test_every_release_with_landmarks_turns_its_faces(tmp_path, release, points):
    make = release(tmp_path)
    whole, aligned = make(NoCrop()).build(), make(UprightCrop(0.1)).build()
    (square,) = upright_squares(points[None].astype(np.float32), 0.1)
    assert np.degrees(square[3]) == pytest.approx(24, abs=3)
    for split, faces in whole.items():
        for row in range(len(faces)):
            expected = cut_turned(faces.image(row), square, "x")
            np.testing.assert_array_equal(aligned[split].image(row), expected)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (W300LP_AFLW2000, "turn away the roll"),
        (Landmarks300W, "cut by LandmarkCrop always, .* not by UprightCrop"),
        (LFW, "LFW has no landmarks"),
        (RAFDB, "aligned images of RAF-DB have no landmarks"),
        (CPLFW, "landmarks for folder 'images' only"),
    ],
)
def test_where_faces_cannot_or_must_not_be_turned(tmp_path, data, reason):
    with pytest.raises(UnsuitableCropping, match=reason):
        data(tmp_path, cropping=UprightCrop())


def test_the_angle_of_real_faces_is_their_roll(shared_data, tmp_path):
    """AFLW2000 gives the roll; seen from in front it is the angle of the face in the image."""
    with zipfile.ZipFile(shared_data / "aflw2000_sample.zip") as archive:
        archive.extractall(tmp_path)
    compared = 0
    for path in sorted(tmp_path.rglob("image*.mat")):
        content = read_mat(path, ["Pose_Para", "pt3d_68"])
        pitch, yaw, roll = np.degrees(content["Pose_Para"].ravel()[:3])
        if abs(yaw) < 20 and abs(pitch) < 20:
            (angle,) = np.degrees(upright_angles(content["pt3d_68"][:2].T[None]))
            assert angle == pytest.approx(roll, abs=4), path.name
            compared += 1
    assert compared >= 5
