import math
import zipfile

import numpy as np
import pytest

import trees
from pcfrl_lightning.data.cropping.croppers import LandmarkCrop, NoCrop
from pcfrl_lightning.data.releases.pose_arrays import PoseArrays
from pcfrl_lightning.data.releases.w300lp import W300LP_AFLW2000, photos, yaw_pitch_roll
from pcfrl_lightning.errors import DataError

ANGLES = {  # pitch, yaw, roll in degrees, as published with the sample
    "00050": (-4.66, 0.94, 5.64), "01322": (-13.59, -5.38, -1.68), "00081": (4.46, 17.91, -0.69),
    "02283": (2.53, -14.14, 2.07), "00251": (6.99, -54.69, -14.58), "02420": (-10.32, 70.90, -8.71),
    "00430": (34.45, 4.69, 7.25), "02545": (-30.97, 10.97, -8.81), "00475": (39.96, 65.62, 19.99),
    "02616": (-13.47, 37.97, -13.11), "00514": (30.66, -5.27, 6.33), "03324": (17.31, -10.94, -0.87),
    "00516": (-0.99, -35.71, 5.62), "03614": (0.35, 17.55, -3.43), "01038": (35.90, 11.06, -6.22),
    "04331": (12.33, 45.45, -1.59),
}  # fmt: skip


def test_official_tree(tmp_path):
    splits = W300LP_AFLW2000(trees.head_pose(tmp_path), cropping=LandmarkCrop(0.25)).build()
    train, test = splits["train"], splits["test"]
    assert [train.source.name(i) for i in range(len(train))] == [
        "AFW_Flip/IBUG_image_1_0.jpg",
        "IBUG/IBUG_image_1_0.jpg",
    ]
    assert [test.source.name(i) for i in range(len(test))] == ["image00002.jpg"]
    np.testing.assert_allclose(test.labels["pose"], [[45, -20, 7]], atol=1e-4)
    np.testing.assert_allclose(train.labels["pose"], [[10, 5, -3]] * 2, atol=1e-4)


def test_crop_has_the_stated_margin_and_ignores_hidden_points(tmp_path):
    splits = W300LP_AFLW2000(trees.head_pose(tmp_path), cropping=LandmarkCrop(0.25)).build()
    whole = W300LP_AFLW2000(tmp_path, cropping=NoCrop()).build()
    for split in ("train", "test"):
        # points span 10..40 and 20..60 counted from 0: side 40 * 1.5 about (25.5, 40.5) in pixel edges
        image = whole[split].image(0)
        crop = splits[split].image(0)
        assert crop.shape == (60, 60, 3)
        left = round(25.5 - 30)
        top = round(40.5 - 30)
        assert left < 0
        np.testing.assert_array_equal(crop[:, -left:], image[top : top + 60, : 60 + left])
        assert not crop[:, :-left].any()


def test_nothing_is_cropped_without_alignment_and_landmarks_are_not_read(tmp_path):
    trees.head_pose(tmp_path)
    path = tmp_path / "AFLW2000/image00002.mat"
    trees.face_mat(path, 1, 2, 3, np.full((2, 68), np.nan), aflw=True)
    assert W300LP_AFLW2000(tmp_path, cropping=NoCrop()).build()["test"].image(0).shape == (90, 90, 3)
    with pytest.raises(DataError, match=r"image00002.mat: expected 68 finite landmarks"):
        W300LP_AFLW2000(tmp_path).build()


def test_wrong_files_are_named(tmp_path):
    trees.head_pose(tmp_path)
    path = tmp_path / "AFLW2000/image00002.mat"
    trees.face_mat(path, math.nan, 2, 3, np.ones((2, 68)), aflw=True)
    with pytest.raises(DataError, match=r"image00002.mat: Pose_Para must hold three finite angles"):
        W300LP_AFLW2000(tmp_path).build()
    path.write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"image00002.mat: not a readable MATLAB file"):
        W300LP_AFLW2000(tmp_path).build()
    path.unlink()
    (tmp_path / "AFLW2000/image00004.mat").unlink()
    with pytest.raises(DataError, match=r"2 of 2 .mat files are missing \(image00002.mat, image00004.mat\)"):
        W300LP_AFLW2000(tmp_path).build()


def test_views_of_one_photo_belong_together():
    names = ["IBUG/IBUG_image_008_1_0.jpg", "IBUG_Flip/IBUG_image_008_1_7.jpg", "IBUG/IBUG_image_008_2_0.jpg"]
    assert photos([*names, "AFW/AFW_1051618982_1_11.jpg", "AFW_Flip/AFW_Flip_1051618982_1_3.jpg"]) == [
        0,
        0,
        1,
        2,
        2,
    ]
    assert photos(["image00002.jpg", "image00004.jpg"]) == [0, 1]


def test_one_set_alone_and_none(tmp_path):
    trees.head_pose(tmp_path / "a")
    (tmp_path / "a/AFLW2000").rename(tmp_path / "AFLW2000")
    assert list(W300LP_AFLW2000(tmp_path).build()) == ["test"]
    assert list(W300LP_AFLW2000(tmp_path / "a").build()) == ["train"]
    with pytest.raises(FileNotFoundError, match="300W_LP, 300W-LP, AFLW2000"):
        W300LP_AFLW2000(tmp_path / "a/300W_LP").build()


def test_order_and_unit_of_the_angles(tmp_path):
    radians = np.array([[0.1, 0.2, 0.3, 5, 6, 7, 8]], np.float32)
    np.testing.assert_allclose(yaw_pitch_roll(radians, tmp_path), np.degrees([0.2, 0.1, 0.3]), rtol=1e-6)


def test_official_samples(shared_data, tmp_path):
    for name in ("aflw2000_sample.zip", "300w_lp_sample.zip"):
        with zipfile.ZipFile(shared_data / name) as archive:
            archive.extractall(tmp_path)
    splits = W300LP_AFLW2000(tmp_path).build()
    test = splits["test"]
    assert len(test) == 16
    for i in range(16):
        pitch, yaw, roll = ANGLES[test.source.name(i)[5:10]]
        np.testing.assert_allclose(test.labels["pose"][i], [yaw, pitch, roll], atol=0.006)
        height, width, _ = test.image(i).shape
        assert height == width
        assert 200 < height < 350  # the faces of the set are about 200 pixels high
    np.testing.assert_allclose(splits["train"].labels["pose"], [[-44.01, -7.58, 3.21]], atol=0.006)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
def test_packed_arrays(tmp_path, channels):
    images = np.arange(3 * 4 * 4 * 3, dtype=np.uint8).reshape(3, 4, 4, 3)
    pose = np.array([[10.0, 5, 1], [0, -99.5, 0], [99, 0, -99]])
    for part in ("300W_LP", "AFLW2000"):
        (tmp_path / part).mkdir()
        np.savez(tmp_path / part / "a.npz", image=images, pose=pose)
    train = PoseArrays(tmp_path, channels=channels).build()["train"]
    assert train.labels["pose"].tolist() == [[10, 5, 1], [99, 0, -99]]
    np.testing.assert_array_equal(train.image(1), images[2] if channels == "rgb" else images[2][..., ::-1])
    np.savez(tmp_path / "AFLW2000/a.npz", image=images, pose=pose * [1, np.nan, 1])
    with pytest.raises(DataError, match=r"a.npz: row 0: .* not finite"):
        PoseArrays(tmp_path).build()


def test_damaged_packed_arrays_are_named(tmp_path):
    path = tmp_path / "a.npz"
    data = PoseArrays(tmp_path, train="a.npz", test="a.npz")
    np.savez_compressed(path, image=np.arange(384, dtype=np.uint8).reshape(2, 8, 8, 3), pose=np.zeros((2, 3)))
    assert len(data.build()["train"]) == 2
    good = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("image.npy")
    packed = 30 + int.from_bytes(good[26:28], "little") + int.from_bytes(good[28:30], "little")  # first member
    for damaged, reason in (
        (good[:-40], "File is not a zip file"),
        (good.replace(info.CRC.to_bytes(4, "little"), bytes(4)), "Bad CRC-32"),
        (good[:packed] + b"\xff" * 20 + good[packed + 20 :], "Error -3 while decompressing"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=rf"a\.npz: damaged \({reason}"):
            data.build()


def test_packed_images_of_another_shape_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", image=np.zeros((2, 8, 8), np.uint8), pose=np.zeros((2, 3)))
    with pytest.raises(DataError, match=r"a\.npz: image is uint8 \(2, 8, 8\); expected uint8 \(N, H, W, 3\)"):
        PoseArrays(tmp_path, train="a.npz", test="a.npz").build()
