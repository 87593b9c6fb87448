import pickle

import cv2
import numpy as np
import pytest

from pcfrl_lightning.data.alignment import LandmarkCrop, NoAlignment, YuNetCrop
from pcfrl_lightning.data.crops import cut, five_point_bounds, in_crop, squares
from pcfrl_lightning.data.sources import ArraySource, CorruptImage
from pcfrl_lightning.errors import DataError

IMAGE = np.random.default_rng(0).integers(1, 256, (40, 60, 3), dtype=np.uint8)


def slow_cut(image, left, top, side):
    result = np.zeros((side, side, 3), np.uint8)
    for y in range(side):
        for x in range(side):
            if 0 <= top + y < image.shape[0] and 0 <= left + x < image.shape[1]:
                result[y, x] = image[top + y, left + x]
    return result


@pytest.mark.parametrize("square", [(5, 5, 20), (-10, -3, 30), (50, 30, 25), (-5, -5, 80), (59, 39, 2)])
def test_cut_pads_with_black(square):
    np.testing.assert_array_equal(cut(IMAGE, np.array(square), "x"), slow_cut(IMAGE, *square))


@pytest.mark.parametrize("square", [(60, 0, 10), (0, -10, 10), (0, 0, 241)])
def test_landmarks_off_the_image_are_reported(square):
    with pytest.raises(CorruptImage, match=r"face.jpg: its landmarks .* do not fit a 60x40 image"):
        cut(IMAGE, np.array(square), "face.jpg")


def test_square_keeps_centre_and_margin():
    left, top, side = squares(np.array([[10.0, 20, 30, 60]], np.float32), 0.25)[0]
    assert side == 60
    assert abs(left + side / 2 - 20.5) <= 0.5
    assert abs(top + side / 2 - 40.5) <= 0.5


def test_points_in_the_crop_follow_the_resize():
    points = np.array([[[10.0, 10], [29, 29]]])
    crops = np.array([[10, 10, 20]])
    np.testing.assert_allclose(in_crop(points, crops)[0], [[0.025, 0.025], [0.975, 0.975]])


def test_five_points_stand_for_a_box_twice_as_large():
    points = np.array([[40.0, 40], [60, 40], [50, 50], [42, 60], [58, 60]])
    np.testing.assert_allclose(five_point_bounds(points), [30, 30, 70, 70])


def test_alignments_share_one_interface():
    source = ArraySource(IMAGE[None])
    boxes = np.array([[10, 10, 29, 29]], np.float32)
    assert NoAlignment().apply(source, boxes) is source
    cropped = LandmarkCrop(0.0).apply(source, boxes)
    np.testing.assert_array_equal(cropped.read(0), IMAGE[10:29, 10:29])
    assert cropped.fingerprint() != source.fingerprint()
    assert cropped.fingerprint() != LandmarkCrop(0.2).apply(source, boxes).fingerprint()
    with pytest.raises(DataError, match="no landmarks"):
        LandmarkCrop().apply(source, None)
    with pytest.raises(ValueError, match="margin"):
        LandmarkCrop(-0.1)


class FakeDetector:
    """Stands in for the model file: two faces, the second one larger."""

    faces: np.ndarray | None = np.array([[1, 1, 5, 5, *[0] * 10, 0.9], [20, 10, 10, 20, *[0] * 10, 0.8]], np.float32)
    seen: tuple[int, int]

    def setInputSize(self, size):
        self.seen = size

    def detect(self, image):
        assert image.shape[1::-1] == self.seen
        return 1, self.faces


def test_yunet_takes_the_largest_face(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"absent.onnx does not exist: download face_detection_yunet"):
        YuNetCrop(tmp_path / "absent.onnx")
    model = tmp_path / "model.onnx"
    model.write_bytes(b"weights")
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: FakeDetector())
    source = YuNetCrop(model, margin=0.0).apply(ArraySource(IMAGE[None]), None)
    face = source.read(0)
    # box x 20..29, y 10..29: side 19, centre (25, 20)
    assert face.shape == (19, 19, 3)
    np.testing.assert_array_equal(face, IMAGE[10:29, 16:35])
    assert pickle.loads(pickle.dumps(source)).fingerprint() == source.fingerprint()
    before = source.fingerprint()
    assert YuNetCrop(model, margin=0.1).apply(ArraySource(IMAGE[None]), None).fingerprint() != before
    model.write_bytes(b"other weights")
    assert YuNetCrop(model, margin=0.0).apply(ArraySource(IMAGE[None]), None).fingerprint() != before


def test_yunet_keeps_the_image_without_a_face(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(b"weights")
    monkeypatch.setattr(FakeDetector, "faces", None)
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: FakeDetector())
    source = YuNetCrop(tmp_path / "model.onnx").apply(ArraySource(IMAGE[None]), None)
    np.testing.assert_array_equal(source.read(0), IMAGE)
