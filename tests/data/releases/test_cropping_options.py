import math
import pickle

import cv2
import numpy as np
import pytest
import torch

from pcfrl_lightning.data.cropping.croppers import LandmarkCrop, NoCrop, UprightCrop, YuNetCrop
from pcfrl_lightning.data.cropping.geometry import (
    cut,
    cut_turned,
    face_boxes,
    in_crop,
    squares,
    upright_angles,
    upright_squares,
)
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import ArraySource, CorruptImage
from pcfrl_lightning.data.quality.provenance import describe_data, faces_found
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
    np.testing.assert_allclose(face_boxes(points[None]), [[30, 30, 70, 70]])
    np.testing.assert_allclose(face_boxes(np.tile(points, (2, 1))[None]), [[40, 40, 60, 60]])


def test_croppings_share_one_interface():
    source = ArraySource(IMAGE[None])
    landmarks = np.zeros((1, 68, 2), np.float32) + 20
    landmarks[0, :2] = [[10, 10], [29, 29]]
    assert NoCrop().apply(source, landmarks) is source
    cropped = LandmarkCrop(0.0).apply(source, landmarks)
    np.testing.assert_array_equal(cropped.read(0), IMAGE[10:29, 10:29])
    assert cropped.fingerprint() != source.fingerprint()
    assert cropped.fingerprint() != LandmarkCrop(0.2).apply(source, landmarks).fingerprint()


@pytest.mark.parametrize("cropping", [LandmarkCrop, UprightCrop])
def test_cropping_by_landmarks_needs_them_and_a_margin(cropping):
    with pytest.raises(DataError, match="no landmarks"):
        cropping().apply(ArraySource(IMAGE[None]), None)
    with pytest.raises(ValueError, match="margin"):
        cropping(-0.1)


FIVE = np.array([[-0.5, 0.0], [0.5, 0], [0, 0.6], [-0.4, 1.05], [0.4, 1.05]])


def turned(points, degrees, scale=1.0, shift=(0.0, 0.0)):
    """Points turned clockwise as seen, with y downwards."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return np.array([[cos * x - sin * y, sin * x + cos * y] for x, y in points]) * scale + np.array(shift)


def sixty_eight(five):
    """An iBUG annotation with these eyes, nose tip and mouth corners; the other points lie at the nose tip."""
    points = np.tile(five[2], (68, 1))
    for eye, first in ((0, 36), (1, 42)):
        around = np.linspace(0, 2 * np.pi, 7)[:6]
        points[first : first + 6] = five[eye] + 0.1 * np.column_stack([np.cos(around), np.sin(around)])
    points[48], points[54] = five[3], five[4]
    return points


@pytest.mark.parametrize("degrees", [-170, -90, -20, 0, 5, 45, 135])
def test_the_angle_of_a_turned_face(degrees):
    five = turned(FIVE, degrees, 30, (100, 80))
    all_points = turned(sixty_eight(FIVE), degrees, 30, (100, 80))
    swapped = five[[1, 0, 2, 4, 3]]  # left and right as the person sees them
    for points in (five, swapped, all_points, np.delete(all_points, [60, 64], axis=0)):
        assert math.degrees(upright_angles(points[None])[0]) == pytest.approx(degrees, abs=1e-6)


def test_yaw_does_not_look_like_roll():
    for narrowed in (0.9, 0.5, 0.1):
        points = turned(FIVE * np.array([narrowed, 1]), 25, 30)
        assert math.degrees(upright_angles(points[None])[0]) == pytest.approx(25, abs=1e-6)


def test_the_angle_is_the_best_of_all():
    """Against a search in steps of a hundredth of a degree, on points that fit no rotation exactly."""
    generator = np.random.default_rng(1)
    upright = FIVE[[0, 1, 3, 4]]
    upright = upright - upright.mean(axis=0)
    for degrees in (-60, 10, 150):
        points = turned(FIVE, degrees, 20, (5, 7)) + generator.normal(scale=2, size=(5, 2))
        four = points[[0, 1, 3, 4]] - points[[0, 1, 3, 4]].mean(axis=0)

        def misfit(angle, four=four):
            candidate = turned(upright, angle)
            scale = (candidate * four).sum() / (candidate**2).sum()
            return ((scale * candidate - four) ** 2).sum() if scale > 0 else np.inf

        best = min(np.arange(-180, 180, 0.01), key=misfit)
        assert math.degrees(upright_angles(points[None])[0]) == pytest.approx(best, abs=0.01)


def test_other_annotations_cannot_be_turned():
    with pytest.raises(ValueError, match="by 98 landmarks: expected 5, 66 or 68"):
        upright_angles(np.zeros((1, 98, 2)))


def slow_cut_turned(image, x, y, side, angle):
    """Every pixel looked up where it comes from, rounded to the nearest."""
    result = np.zeros((side, side, 3), np.uint8)
    for v in range(side):
        for u in range(side):
            right, down = u - (side - 1) / 2, v - (side - 1) / 2
            from_x = round(x + math.cos(angle) * right - math.sin(angle) * down)
            from_y = round(y + math.sin(angle) * right + math.cos(angle) * down)
            if 0 <= from_x < image.shape[1] and 0 <= from_y < image.shape[0]:
                result[v, u] = image[from_y, from_x]
    return result


@pytest.mark.parametrize("quarter", [0, 1, 2, 3])
@pytest.mark.parametrize("centre", [(20, 15), (2, 35)])
def test_cut_turned_by_quarters_moves_pixels(quarter, centre):
    square = (*centre, 21, quarter * np.pi / 2)
    np.testing.assert_array_equal(cut_turned(IMAGE, np.array(square), "x"), slow_cut_turned(IMAGE, *square))


def test_cut_turned_finds_every_pixel_of_a_smooth_image():
    ramp = np.stack(
        [np.tile(np.arange(60) * 4, (40, 1)), np.tile(np.arange(40)[:, None] * 4, (1, 60)), np.zeros((40, 60))]
    )
    image = ramp.transpose(1, 2, 0).astype(np.uint8)
    square = (30.3, 18.7, 20, 0.5)
    difference = cut_turned(image, np.array(square), "x").astype(int) - slow_cut_turned(image, *square)
    assert abs(difference).max() <= 3  # half a pixel of a ramp that rises by 4


@pytest.mark.parametrize("seed", range(40))
def test_a_turned_square_is_refused_where_it_shows_nothing_of_the_image(seed):
    generator = np.random.default_rng(seed)
    square = [*generator.uniform([-40, -40], [100, 80]), generator.integers(5, 40), generator.uniform(-3, 3)]
    centre, side, degrees = square[:2], square[2], math.degrees(square[3])
    corners = turned([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)], degrees, side, centre)
    places = [np.array(centre)]
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        places += [start + (end - start) * share for share in np.linspace(0, 1, 400)]
    touches = any(-0.5 < x < 59.5 and -0.5 < y < 39.5 for x, y in places)
    for x, y in ((-0.5, -0.5), (59.5, -0.5), (-0.5, 39.5), (59.5, 39.5)):  # a corner of the image in the square
        touches |= abs(turned([(x - centre[0], y - centre[1])], -degrees)).max() < side / 2
    white = np.full((40, 60, 3), 255, np.uint8)
    if touches:
        cut_turned(white, np.array(square), "x")
    else:
        with pytest.raises(CorruptImage, match="do not fit"):
            cut_turned(white, np.array(square), "x")


@pytest.mark.parametrize("square", [(75, 20, 30, 0.0), (20, -16, 30, 0), (20, 20, 241, 0), (-16, -16, 30, np.pi / 4)])
def test_turned_landmarks_off_the_image_are_reported(square):
    with pytest.raises(CorruptImage, match=r"face.jpg: its landmarks .* do not fit a 60x40 image"):
        cut_turned(IMAGE, np.array(square), "face.jpg")


@pytest.mark.parametrize("degrees", [0, 30, -75])
def test_a_turned_face_is_cut_out_as_the_upright_one(degrees):
    """Squares drawn at eyes and mouth stand in the same places of the crop, however the face is turned."""
    points = turned(FIVE, degrees, 60, (150, 150))
    image = np.zeros((300, 300, 3), np.uint8)
    for x, y in points:
        cv2.circle(image, (round(x), round(y)), 6, (255, 255, 255), -1)
    side = upright_squares(points[None].astype(np.float32), 0.25)[0, 2]
    assert side == pytest.approx(2 * 1.05 * 60 * 1.5, abs=1)
    crop = UprightCrop(0.25).apply(ArraySource(image[None]), points[None]).read(0)
    assert crop.shape == (round(side), round(side), 3)
    middle = (FIVE.min(axis=0) + FIVE.max(axis=0)) / 2
    for u, v in (FIVE - middle) * 60 + (side - 1) / 2:
        assert crop[round(v), round(u)].min() > 200
    assert 4 * np.pi * 36 < (crop[..., 0] > 127).sum() < 6.5 * np.pi * 36


def test_turned_crops_have_fingerprints_of_their_own():
    source = ArraySource(IMAGE[None])
    points = turned(FIVE, 10, 10, (30, 15))[None]
    prints = {
        kind(margin).apply(source, points).fingerprint()
        for kind in (LandmarkCrop, UprightCrop)
        for margin in (0.0, 0.5)
    }
    assert len(prints) == 4
    aligned = UprightCrop().apply(source, points)
    again = pickle.loads(pickle.dumps(aligned))
    assert again.fingerprint() == aligned.fingerprint()
    np.testing.assert_array_equal(again.read(0), aligned.read(0))


class FakeDetector:
    """Stands in for the model file: two faces, the second one larger."""

    faces: np.ndarray | None = np.array([[1, 1, 5, 5, *[0] * 10, 0.9], [20, 10, 10, 20, *[0] * 10, 0.8]], np.float32)
    seen: tuple[int, int]

    def setInputSize(self, size):
        self.seen = size

    def detect(self, image):
        assert image.shape[1::-1] == self.seen
        return 1, self.faces


def test_a_model_file_that_is_a_web_page_is_one_error(tmp_path):
    (tmp_path / "yunet.onnx").write_text("<!DOCTYPE html><html></html>")
    source = YuNetCrop(tmp_path / "yunet.onnx").apply(ArraySource(np.zeros((1, 64, 64, 3), np.uint8)), None)
    with pytest.raises(DataError, match=r"YuNet model .*yunet.onnx cannot be read: give the .onnx file itself"):
        source.read(0)


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


class FaceInBrightImages(FakeDetector):
    def detect(self, image):
        return 1, self.faces if image.mean() > 100 else None


def test_results_say_how_many_faces_the_detector_finds(tmp_path, monkeypatch):
    (tmp_path / "model.onnx").write_bytes(b"weights")
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: FaceInBrightImages())
    images = np.repeat(np.array([20, 200, 200, 20, 200], np.uint8), 40 * 60 * 3).reshape(5, 40, 60, 3)
    source = YuNetCrop(tmp_path / "model.onnx").apply(ArraySource(images), None)
    faces = FaceSet(source, {"expression": torch.zeros(5, dtype=torch.long)}, name="set")
    assert faces_found(faces) == {"found": 3, "of": 5}
    assert faces_found(faces, sample=2) == {"found": 1, "of": 2}  # the first and the last
    assert faces_found(faces.subset(torch.tensor([3, 1]))) == {"found": 1, "of": 2}
    assert faces_found(FaceSet(ArraySource(images), faces.labels, name="set")) is None
    assert describe_data(object(), [faces])["faces_found"] == {"set": {"found": 3, "of": 5}}
