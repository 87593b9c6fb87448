import itertools
import pickle
import random
from pathlib import Path

import albumentations
import cv2
import numpy as np
import pytest
import torch
from albumentations.augmentations.pixel import functional as pixel
from jsonargparse import ArgumentParser

from pcfrl_lightning.data import FaceData
from pcfrl_lightning.data.views.appearance import Appearance, gaussian_blur, sobel_magnitude, sobel_uint8
from pcfrl_lightning.data.views.base import VIEW_NAMES, Views
from pcfrl_lightning.data.views.cpu import AlbumentationsViews, LiteralPoseViews
from pcfrl_lightning.data.views.mirrored import MirroredViews
from pcfrl_lightning.data.views.pcl import PCLViews

NONE = Appearance(jitter_p=0, gray_p=0, blur_p=0, sobel_p=0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng([0, 0, seed])


@pytest.fixture
def colour():
    return np.random.default_rng(1).integers(0, 256, (48, 48, 3), dtype=np.uint8)


@pytest.fixture
def marked():
    """Bright on the left, dark on the right, coloured: a flip cannot be mistaken."""
    image = np.full((48, 48, 3), (60, 40, 50), np.uint8)
    image[:, :24] = (250, 220, 200)
    return image


def test_sobel_and_blur_equal_the_public_code(golden):
    values = np.load(golden / "pcl_losses.npz")
    image = np.ascontiguousarray(values["sobel_input"][0].transpose(1, 2, 0), dtype=np.float32)
    np.testing.assert_allclose(sobel_magnitude(image), values["sobel_output"][0, 0], atol=1e-5)
    np.testing.assert_allclose(gaussian_blur(image, 7, 1.0).transpose(2, 0, 1), values["blur_output_sigma1"], atol=1e-5)


def test_sobel_of_grey_equals_sobel_of_three_equal_channels(colour):
    grey = np.ascontiguousarray(colour[..., 0])
    assert np.abs(sobel_uint8(grey).astype(int) - sobel_uint8(np.repeat(grey[..., None], 3, 2))).max() <= 1


def test_strong_edges_saturate_instead_of_wrapping_around():
    image = np.zeros((16, 16, 3), np.uint8)
    image[8:, 8:] = 255
    edges = sobel_magnitude(image.astype(np.float32) / 255)
    assert edges.max() > 1
    assert sobel_uint8(image)[edges > 1].min() == 255


@pytest.mark.parametrize("shape", [(48, 48, 3), (250, 200, 3), (20, 31, 3)])
@pytest.mark.parametrize("views", [AlbumentationsViews, LiteralPoseViews])
def test_six_uint8_views_of_one_size(shape, views):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    before = image.copy()
    sample = views(40).sample(image, rng())
    assert tuple(sample) == VIEW_NAMES
    assert all(view.shape == (40, 40, 3) and view.dtype == np.uint8 for view in sample.values())
    np.testing.assert_array_equal(image, before)


def test_target_is_the_mirror_image_of_source(colour):
    sample = AlbumentationsViews(48).sample(colour, rng())
    np.testing.assert_array_equal(sample["source"], colour)
    np.testing.assert_array_equal(sample["target"], colour[:, ::-1])


def test_target_is_turned_when_asked(colour):
    sample = AlbumentationsViews(48, rotation=15).sample(colour, rng())
    assert (sample["target"] != colour[:, ::-1]).any()


@pytest.mark.parametrize("rotation", [0.0, 20.0])
def test_pose_views_share_their_geometry(colour, rotation):
    views = AlbumentationsViews(48, NONE, rotation=rotation)
    flips = 0
    for seed in range(40):
        sample = views.sample(colour, rng(seed))
        np.testing.assert_array_equal(sample["pose_1"], sample["pose_2"])
        flips += int((sample["pose_1"] == colour[:, ::-1]).all())
    if rotation == 0:
        assert 8 <= flips <= 32


def test_pose_views_of_a_marked_image_share_the_flip_and_not_the_appearance(marked):
    views = AlbumentationsViews(48, Appearance(sobel_p=0))
    sides, different = [], 0
    for seed in range(60):
        sample = views.sample(marked, rng(seed))
        signs = [np.sign(sample[k][:, :20].mean() - sample[k][:, 28:].mean()) for k in ("pose_1", "pose_2")]
        assert signs[0] == signs[1] != 0
        sides.append(signs[0])
        different += (sample["pose_1"] != sample["pose_2"]).any()
    assert {-1.0, 1.0} == set(sides)
    assert different > 50


@pytest.mark.parametrize(("flip_p", "expected"), [(0.0, 0), (0.25, 50), (1.0, 200)])
def test_pose_views_are_mirrored_with_their_probability(marked, flip_p, expected):
    views = AlbumentationsViews(48, NONE, flip_p=flip_p)
    poses = [views.sample(marked, rng(seed))["pose_1"] for seed in range(200)]
    flips = sum(bool(view[:, :14].mean() < view[:, 34:].mean()) for view in poses)
    assert abs(flips - expected) <= (20 if 0 < flip_p < 1 else 0)


@pytest.mark.parametrize(("flip_p", "rotation"), [(0.5, 0.0), (0.0, 0.0), (0.5, 1.0), (0.5, 20.0), (1.0, 20.0)])
def test_literal_pose_views_always_move_exactly_one_view(colour, flip_p, rotation):
    views = LiteralPoseViews(48, NONE, flip_p=flip_p, rotation=rotation)
    moved = []
    for seed in range(200):
        sample = views.sample(colour, rng(seed))
        np.testing.assert_array_equal(sample["pose_1"], colour)
        moved.append(sample["pose_2"])
        assert (sample["pose_2"] != colour).any()
    if rotation == 0:
        assert all((view == colour[:, ::-1]).all() for view in moved)
    else:
        assert len({view.tobytes() for view in moved}) == 200


@pytest.mark.parametrize(("flip_p", "expected"), [(0.0, 0), (0.25, 50), (1.0, 200)])
def test_the_literal_view_is_turned_and_flipped_with_its_probability(marked, flip_p, expected):
    views = LiteralPoseViews(48, NONE, flip_p=flip_p, rotation=20)
    sides = [views.sample(marked, rng(seed))["pose_2"] for seed in range(200)]
    flips = sum(bool(view[:, :14].mean() < view[:, 34:].mean()) for view in sides)
    assert abs(flips - expected) <= (20 if 0 < flip_p < 1 else 0)


def turned_by(image: np.ndarray) -> float:
    """Degrees by which the dot of `dotted` stands away from the x axis, counter-clockwise."""
    rows, columns = np.nonzero(image[..., 0] > 100)
    return float(np.degrees(np.arctan2(47.5 - rows.mean(), columns.mean() - 47.5)))


def dotted() -> np.ndarray:
    image = np.zeros((96, 96, 3), np.uint8)
    image[46:50, 80:84] = 255
    return image


def test_the_literal_view_is_turned_by_half_of_the_rotation_at_least():
    views = LiteralPoseViews(96, NONE, flip_p=0, rotation=20)
    angles = np.array([turned_by(views.sample(dotted(), rng(seed))["pose_2"]) for seed in range(200)])
    assert 9 < np.abs(angles).min() < 11
    assert 19 < np.abs(angles).max() < 21
    assert 70 < (angles > 0).sum() < 130


@pytest.mark.parametrize("name", ["target", "pose_1", "pose_2"])
def test_turns_are_even_on_both_sides(name):
    views = AlbumentationsViews(96, NONE, flip_p=0, rotation=30)
    samples = [views.sample(dotted(), rng(seed)) for seed in range(400)]
    angles = np.array([turned_by(sample[name][:, ::-1] if name == "target" else sample[name]) for sample in samples])
    assert np.abs(angles).max() <= 31
    np.testing.assert_allclose(np.quantile(angles, (0.1, 0.25, 0.5, 0.75, 0.9)), (-24, -15, 0, 15, 24), atol=4)
    if name == "pose_2":
        assert all((sample["pose_1"] == sample["pose_2"]).all() for sample in samples)


def test_face_crops_are_independent_and_within_the_scale(colour):
    rows, columns = np.mgrid[:240, :240].astype(np.uint8)
    image = np.stack([rows, columns, 0 * rows], 2)  # a pixel tells where it comes from
    views = AlbumentationsViews(48, NONE, crop_scale=(0.25, 0.5), crop_ratio=(1.0, 1.0))
    areas = []
    for seed in range(100):
        sample = views.sample(image, rng(seed))
        assert (sample["face_1"] != sample["face_2"]).any()
        for name in ("face_1", "face_2"):
            height = int(sample[name][-1, 0, 0]) - int(sample[name][0, 0, 0])
            width = int(sample[name][0, -1, 1]) - int(sample[name][0, 0, 1])
            areas.append(height * width / 240**2)
    assert 0.2 < min(areas) < 0.28
    assert 0.43 < max(areas) < 0.51


def test_the_ratio_of_a_face_crop_is_its_width_over_its_height():
    rows, columns = np.mgrid[:240, :240].astype(np.uint8)
    image = np.stack([rows, columns, 0 * rows], 2)
    sample = AlbumentationsViews(48, NONE, crop_scale=(0.3, 0.3), crop_ratio=(2.0, 2.0)).sample(image, rng(0))
    for name in ("face_1", "face_2"):
        height, width = sample[name][-1, -1, :2].astype(float) - sample[name][0, 0, :2]
        assert width / height == pytest.approx(2, rel=0.05)


def test_face_crops_have_even_areas_log_ratios_and_places():
    rows, columns = np.mgrid[:240, :240].astype(np.uint8)
    image = np.stack([rows, columns, 0 * rows], 2)
    views = AlbumentationsViews(48, NONE, crop_scale=(0.2, 0.5), crop_ratio=(0.5, 2.0))
    areas, ratios, places = [], [], []
    for seed in range(400):
        sample = views.sample(image, rng(seed))
        for name in ("face_1", "face_2"):
            first, last = sample[name][0, 0, :2].astype(float), sample[name][-1, -1, :2].astype(float)
            height, width = (last - first) * 48 / 47
            areas.append(height * width / 240**2)
            ratios.append(np.log(width / height))
            top, left = first + 0.5 - np.array([height, width]) / 96
            places += [top / (240 - height), left / (240 - width)]
    quarters = (0.25, 0.5, 0.75)
    np.testing.assert_allclose(np.quantile(areas, quarters), (0.275, 0.35, 0.425), atol=0.015)
    np.testing.assert_allclose(np.quantile(ratios, quarters), np.log(4) * (np.array(quarters) - 0.5), atol=0.07)
    np.testing.assert_allclose(np.quantile(places, quarters), quarters, atol=0.05)


@pytest.mark.parametrize(
    "views",
    [
        AlbumentationsViews(32, NONE, crop_scale=(0.9, 1), crop_ratio=(1, 1)),
        AlbumentationsViews(32, face_transforms=["HorizontalFlip"], pose_transforms=["HorizontalFlip"]),
        PCLViews(16, 2, appearance=NONE),
    ],
)
def test_shrinking_averages_over_areas(views):
    """A checkerboard of single pixels becomes grey; without averaging, each pixel would be black or white."""
    board = np.repeat(np.indices((240, 240)).sum(0)[..., None] % 2 * 255, 3, 2).astype(np.uint8)
    for name, view in views.sample(board, rng()).items():
        assert 100 < view.min() <= view.max() < 155, name


def test_enlarging_interpolates():
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, 8:] = 200
    sample = AlbumentationsViews(64, NONE, crop_scale=(1, 1), crop_ratio=(1, 1)).sample(image, rng())
    for name in ("source", "face_1"):
        assert len(set(sample[name][32, :, 0].tolist())) > 4, name


def test_appearance_is_drawn_for_every_view(colour):
    sample = AlbumentationsViews(48, flip_p=0, crop_scale=(1, 1), crop_ratio=(1, 1)).sample(colour, rng(3))
    views = [sample[name].tobytes() for name in ("face_1", "face_2", "pose_1", "pose_2")]
    assert len(set(views)) == 4


def test_the_generator_is_the_only_source_of_randomness(colour):
    views = AlbumentationsViews(48, rotation=5)
    first = views.sample(colour, rng(5))
    np.random.seed(3)  # noqa: NPY002
    again, other = views.sample(colour, rng(5)), views.sample(colour, rng(6))
    assert all((first[name] == again[name]).all() for name in VIEW_NAMES)
    assert (first["face_1"] != other["face_1"]).any()


def test_grey_images_stay_grey_and_look_like_the_colour_path(colour, monkeypatch):
    image = np.repeat(colour[..., :1], 3, 2)
    views = AlbumentationsViews(48)
    fast = views.sample(image, rng())
    monkeypatch.setattr("pcfrl_lightning.data.views.cpu.as_grey", lambda image: image)
    slow = views.sample(image, rng())
    for name in VIEW_NAMES:
        assert (fast[name] == fast[name][..., :1]).all()
        assert np.abs(fast[name].astype(int) - slow[name]).max() <= 4  # roundings of another order


@pytest.mark.parametrize(
    ("key", "effect"),
    [
        ("jitter_p", lambda before, after: (before != after).any() and (after != after[..., :1]).any()),
        ("gray_p", lambda before, after: (after == cv2.cvtColor(before, cv2.COLOR_RGB2GRAY)[..., None]).all()),
        ("blur_p", lambda before, after: after.std() < 0.9 * before.std() and (after != after[..., :1]).any()),
        ("sobel_p", lambda before, after: (after == sobel_uint8(before)[..., None]).all()),
    ],
)
def test_each_change_happens_with_its_probability(colour, key, effect):
    off = dict.fromkeys(("jitter_p", "gray_p", "blur_p", "sobel_p"), 0.0)
    views = changed_by(Appearance(**{**off, key: 0.3}, blur_sigma=(1.0, 1.0)), colour, 1000)
    changed = sum((view != colour).any() for view in views)
    assert 250 < changed < 350
    assert changed == sum(bool(effect(colour, view)) for view in views)


def changed_by(appearance: Appearance, image: np.ndarray, count: int = 600) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [appearance(image, iter(generator.random(10).tolist())) for _ in range(count)]


QUARTERS = (0.02, 0.25, 0.5, 0.75, 0.98)


@pytest.mark.parametrize(
    ("key", "strength", "colour", "measure", "even"),
    [
        ("brightness", 0.5, (100, 80, 40), lambda v: v[0, 0, 0] / 100, 1.0),
        ("contrast", 0.5, (160, 160, 160), lambda v: (int(v[0, 0, 1]) - int(v[-1, 0, 1])) / 80, 1.0),
        ("saturation", 0.5, (140, 100, 100), lambda v: (int(v[0, 0, 0]) - int(v[0, 0, 1])) / 40, 1.0),
        # degrees away from green, in OpenCV's scale of 180 for a full turn
        ("hue", 0.2, (90, 200, 90), lambda v: (cv2.cvtColor(v, cv2.COLOR_RGB2HSV)[0, 0, 0] - 60.0) / 180, 0.0),
    ],
)
def test_strengths_are_even_in_their_range_and_on_both_sides(key, strength, colour, measure, even):
    image = np.full((16, 16, 3), colour, np.uint8)
    if key == "contrast":
        image[8:] = 80
    none = dict.fromkeys(("brightness", "contrast", "saturation", "hue", "gray_p", "blur_p", "sobel_p"), 0.0)
    views = changed_by(Appearance(**{**none, key: strength}, jitter_p=1), image)
    found = np.quantile([measure(view) for view in views], QUARTERS)
    np.testing.assert_allclose(found, even + strength * (2 * np.array(QUARTERS) - 1), atol=0.06 * strength / 0.5 + 0.01)


def test_colour_changes_come_in_every_order(colour):
    """Brightness, contrast, saturation and hue do not commute: each of the 24 orders is met, about equally often."""
    changes = (
        lambda image: pixel.adjust_brightness_torchvision(image, 1.4),
        lambda image: pixel.adjust_contrast_torchvision(image, 0.6),
        lambda image: pixel.adjust_saturation_torchvision(image, 1.6),
        lambda image: pixel.adjust_hue_torchvision(image, -0.1),
    )
    by_order = {}
    for order in itertools.permutations(range(4)):
        image = colour
        for change in order:
            image = changes[change](image)
        by_order[order] = image.tobytes()
    assert len(set(by_order.values())) == 24
    jitter = Appearance(0.8, 0.8, 0.8, 0.2, jitter_p=1, gray_p=0, blur_p=0, sobel_p=0)
    draws = [0.0, 0.75, 0.25, 0.875, 0.25]  # happens; brightness x 1.4, contrast x 0.6, saturation x 1.6, hue - 0.1
    met = [jitter(colour, iter([*draws, order, 0.5, 0.5, 0.5])).tobytes() for order in np.linspace(0, 0.999, 240)]
    assert [met.count(view) for view in by_order.values()] == [10] * 24


def test_blur_is_as_wide_as_a_tenth_of_the_view_and_its_sigma_even():
    for side, taps in ((64, 7), (48, 5), (100, 11), (112, 11), (224, 23), (32, 3)):
        dot = np.zeros((side, side, 3), np.uint8)
        dot[side // 2, side // 2] = 255
        for given, width in ((None, taps), (5, 5)):
            blur = Appearance(jitter_p=0, gray_p=0, blur_p=1, blur_sigma=(50, 50), blur_taps=given, sobel_p=0)
            (view,) = changed_by(blur, dot, 1)
            assert int((view[side // 2, :, 0] > 0).sum()) == width, (side, given)
    values = np.zeros((64, 64, 3), np.uint8)
    values[32:] = 255
    views = changed_by(Appearance(jitter_p=0, gray_p=0, blur_p=1, blur_sigma=(0.5, 1.5), sobel_p=0), values)
    expected = [gaussian_blur(values, 7, sigma)[32, 0, 0] for sigma in (0.75, 1.0, 1.25)]
    found = np.quantile([view[32, 0, 0] for view in views], (0.75, 0.5, 0.25))  # the wider, the darker
    np.testing.assert_allclose(found, np.array(expected), atol=5)


def test_strengths_of_zero_change_nothing(colour):
    still = Appearance(0, 0, 0, 0, jitter_p=1, gray_p=0, blur_p=0, sobel_p=0)
    np.testing.assert_array_equal(still(colour, iter(rng().random(10).tolist())), colour)


OWN = """
class_path: pcfrl_lightning.data.AlbumentationsViews
init_args:
  image_size: 40
  face_transforms:
    - class_path: albumentations.RandomCrop
      init_args: {height: 30, width: 20, p: 1.0}
    - albumentations.HorizontalFlip
  pose_transforms:
    - class_path: albumentations.OneOf
      init_args:
        p: 1.0
        transforms:
          - class_path: albumentations.InvertImg
            init_args: {p: 1.0}
          - class_path: albumentations.ColorJitter
"""


def parsed(text: str, tmp_path) -> AlbumentationsViews:
    (tmp_path / "views.yaml").write_text(text)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Views, "views")
    config = parser.parse_args([f"--views={tmp_path / 'views.yaml'}"])
    assert "albumentations.HorizontalFlip" in parser.dump(config)
    views = parser.instantiate_classes(config).views
    assert isinstance(views, AlbumentationsViews)
    return views


def test_own_transforms_from_a_yaml_replace_the_recipe(colour, tmp_path):
    views = parsed(OWN, tmp_path)
    flips, inverted = set(), set()
    for seed in range(30):
        sample = views.sample(colour, rng(seed))
        assert tuple(sample) == VIEW_NAMES
        assert all(view.shape == (40, 40, 3) and view.dtype == np.uint8 for view in sample.values())
        whole = sample["source"]
        poses = [whole, whole[:, ::-1]]
        shared = [
            {(flip, bool((sample[name] == 255 - pose).all())) for flip, pose in enumerate(poses)}
            for name in ("pose_1", "pose_2")
        ]
        exact = [{flip for flip, same in found if same} for found in shared]
        inverted |= {bool(each) for each in exact}
        if all(exact):  # both inverted: the flip below is one and the same
            assert exact[0] == exact[1]
            flips |= exact[0]
        assert (sample["face_1"] != sample["face_2"]).any()
    assert inverted == {True, False}
    assert flips == {0, 1}


def test_own_transforms_see_colour_and_the_whole_image(marked):
    seen = []

    class Look(albumentations.ImageOnlyTransform):
        def apply(self, img, **params):
            seen.append(img.copy())
            return img

    grey = np.repeat(np.repeat(marked[..., :1], 3, 2), 2, 1)  # (48, 96, 3)
    views = AlbumentationsViews(24, flip_p=0, face_transforms=[Look(p=1)], pose_transforms=[Look(p=1)])
    seen.clear()
    sample = views.sample(grey, rng())
    assert [image.shape for image in seen] == [(48, 96, 3)] * 2 + [(24, 24, 3)] * 2
    np.testing.assert_array_equal(seen[0], grey)
    for name in ("face_1", "face_2", "pose_1", "pose_2"):
        np.testing.assert_array_equal(sample[name], sample["source"])


def test_own_transforms_have_no_other_randomness_than_the_generator(colour, tmp_path):
    first, second = parsed(OWN, tmp_path), pickle.loads(pickle.dumps(parsed(OWN, tmp_path)))
    ahead = [first.sample(colour, rng(seed)) for seed in range(8)]
    random.seed(1)
    again = [second.sample(colour, rng(seed)) for seed in reversed(range(8))][::-1]
    for one, two in zip(ahead, again, strict=True):
        assert all((one[name] == two[name]).all() for name in VIEW_NAMES)
    assert len({sample["face_1"].tobytes() for sample in ahead}) > 5


def test_the_shipped_example_of_own_transforms_makes_batches(tmp_path):
    for number in range(8):
        cv2.imwrite(
            str(tmp_path / f"{number}.png"), np.random.default_rng(number).integers(0, 256, (50, 60, 3), np.uint8)
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_subclass_arguments(FaceData, "data")
    config = parser.parse_args(
        ["--data=pcfrl_lightning.data.FaceFolder", f"--data.root={tmp_path}", "--data.batch_size=4",
         "--data.num_workers=0", f"--config={Path(__file__).parents[2] / 'configs/views/custom.yaml'}"]
    )  # fmt: skip
    data = parser.instantiate_classes(config).data
    assert len(data.views.face_transforms) == 3
    assert len(data.views.pose_transforms) == 2
    batches = [data.on_after_batch_transfer(batch, 0) for batch in data.train_dataloader()]
    assert [tuple(batch["pose_2"].shape) for batch in batches] == [(4, 3, 64, 64)] * 2


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        ("HorizontlFlip", r"HorizontlFlip is no transform .*did you mean albumentations.HorizontalFlip\?"),
        ("os.system", "os.system is no transform of albumentations"),
        ("nowhere.Flip", "No module named 'nowhere'"),
        ("Normalize", "Normalize does not give uint8 images"),
        ("RandomSizedBBoxSafeCrop", "height: Field required; width: Field required"),
        ("MaskDropout", "MaskDropout requires"),
        (3, "expected the name of a transform, or class_path and init_args, got 3"),
        ({"class_path": "HorizontalFlip", "init_args": {"q": 1}}, "Argument.* 'q' are not valid"),
        ({"class_path": "HorizontalFlip", "init_args": {"p": 2}}, "p: Input should be less than or equal to 1"),
        ({"class_path": "OneOf", "init_args": {"transforms": ["Blurr"]}}, "did you mean albumentations.Blur"),
    ],
)
def test_wrong_own_transforms_are_one_line(transform, message):
    with pytest.raises(ValueError, match=rf"^views.pose_transforms: .*{message}") as caught:
        AlbumentationsViews(pose_transforms=[transform])
    assert "\n" not in str(caught.value)


def test_batch_gives_floats_between_0_and_1(colour):
    tensor = torch.from_numpy(colour).permute(2, 0, 1)[None]
    batch = AlbumentationsViews(48).batch({"source": tensor}, torch.zeros(1, 2).long(), torch.Generator())
    assert batch["source"].dtype == torch.float32
    torch.testing.assert_close(batch["source"] * 255, tensor.float())


def test_pcl_views_never_share_a_pixel_and_carry_mirrored_negatives():
    rows, columns = np.mgrid[:64, :64].astype(np.uint8)
    image = np.stack([rows * 3, columns * 3, 0 * rows], 2)
    views = PCLViews(64, pose_negatives=3, appearance=NONE)
    places = set()
    for seed in range(120):
        sample = views.sample(image, rng(seed))
        spans = []
        for name in ("face_1", "face_2"):
            red, green = sample[name][..., 0] // 3, sample[name][..., 1] // 3
            spans.append((int(red.min()), int(red.max()), int(green.min()), int(green.max())))
            assert 22 <= spans[-1][1] - spans[-1][0] <= 25
        places.add(tuple((span[0] >= 32, span[2] >= 32) for span in spans))
        (top, bottom, left, right), (top2, bottom2, left2, right2) = spans
        assert bottom < top2 or bottom2 < top or right < left2 or right2 < left
        np.testing.assert_array_equal(sample["pose_1"], image)
        assert sample["pose_negatives"].shape == (3, 64, 64, 3)
        np.testing.assert_array_equal(sample["pose_negatives"][1], image[:, ::-1])
    assert len(places) == 12  # every quadrant, and with each of the others


def test_mirrored_views_mirror_the_face_views_alone_and_the_negatives_against_the_pose_views():
    image = np.stack([np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))] * 3, 2)
    views = MirroredViews(64, pose_negatives=2, face_flip_p=0.5, appearance=NONE, crop_scale=(1, 1), crop_ratio=(1, 1))
    seen = set()
    for seed in range(60):
        sample = views.sample(image, rng(seed))
        flipped = {name: sample[name][0, 0, 0] > sample[name][0, -1, 0] for name in ("face_1", "face_2", "pose_1")}
        np.testing.assert_array_equal(sample["source"], image)
        np.testing.assert_array_equal(sample["pose_2"], sample["pose_1"])
        for negative in sample["pose_negatives"]:
            np.testing.assert_array_equal(negative, sample["pose_1"][:, ::-1])
        seen.add(tuple(flipped.values()))
    assert len(seen) == 8  # each is drawn for itself
    assert "pose_negatives" not in MirroredViews(64, pose_negatives=0).sample(image, rng())


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: MirroredViews(pose_negatives=-1), "pose_negatives"),
        (lambda: MirroredViews(face_flip_p=2.0), "face_flip_p"),
        (lambda: AlbumentationsViews(0), "image_size"),
        (lambda: AlbumentationsViews(crop_scale=(0.5, 1.5)), "crop_scale"),
        (lambda: AlbumentationsViews(crop_ratio=(2.0, 1.0)), "crop_ratio"),
        (lambda: AlbumentationsViews(flip_p=2), "flip_p"),
        (lambda: AlbumentationsViews(rotation=-1), "rotation"),
        (lambda: PCLViews(pose_negatives=0), "pose_negatives"),
        (lambda: PCLViews(crop_side=0.6), "crop_side"),
        (lambda: Appearance(hue=0.7), "hue"),
        (lambda: Appearance(sobel_p=-0.1), "sobel_p"),
        (lambda: Appearance(blur_sigma=(0.0, 1.0)), "blur_sigma"),
        (lambda: Appearance(blur_taps=6), "blur_taps"),
        (lambda: AlbumentationsViews().sample(np.zeros((9, 9, 3), np.uint8), rng()), "image_size is not set"),
    ],
)
def test_arguments_out_of_range_are_named(make, key):
    with pytest.raises(ValueError, match=key):
        make()


@pytest.mark.parametrize("kind", [AlbumentationsViews, MirroredViews, PCLViews])
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (9, 1, 3)])
def test_images_of_one_pixel_do_not_end_a_run(kind, shape):
    image = np.full(shape, 7, np.uint8)
    for seed in range(8):
        views = kind(8).sample(image, np.random.default_rng(seed))
        assert {view.shape[-3:] for view in views.values()} == {(8, 8, 3)}
