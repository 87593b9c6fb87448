import numpy as np
import pytest
import torch

from pcfrl_lightning.data.views.appearance import Appearance, gaussian_blur, sobel_magnitude, sobel_uint8
from pcfrl_lightning.data.views.base import VIEW_NAMES
from pcfrl_lightning.data.views.cpu import AlbumentationsViews, LiteralPoseViews
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


def test_literal_pose_views_move_one_view_only(marked):
    views = LiteralPoseViews(48, NONE, flip_p=1.0)
    for seed in range(10):
        sample = views.sample(marked, rng(seed))
        np.testing.assert_array_equal(sample["pose_1"], marked)
        np.testing.assert_array_equal(sample["pose_2"], marked[:, ::-1])


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
    ("key", "probability"),
    [("jitter_p", "jitter_p"), ("gray_p", "gray_p"), ("blur_p", "blur_p"), ("sobel_p", "sobel_p")],
)
def test_each_change_happens_with_its_probability(colour, key, probability):
    off = dict.fromkeys(("jitter_p", "gray_p", "blur_p", "sobel_p"), 0.0)
    appearance = Appearance(**{**off, key: 0.3})
    generator = np.random.default_rng(0)
    changed = sum((appearance(colour, iter(generator.random(10).tolist())) != colour).any() for _ in range(1000))
    assert 250 < changed < 350


def test_strengths_of_zero_change_nothing(colour):
    still = Appearance(0, 0, 0, 0, jitter_p=1, gray_p=0, blur_p=0, sobel_p=0)
    np.testing.assert_array_equal(still(colour, iter(rng().random(10).tolist())), colour)


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
    for seed in range(60):
        sample = views.sample(image, rng(seed))
        spans = []
        for name in ("face_1", "face_2"):
            red, green = sample[name][..., 0] // 3, sample[name][..., 1] // 3
            spans.append((int(red.min()), int(red.max()), int(green.min()), int(green.max())))
            assert 22 <= spans[-1][1] - spans[-1][0] <= 25
            places.add((spans[-1][0] >= 32, spans[-1][2] >= 32))
        (top, bottom, left, right), (top2, bottom2, left2, right2) = spans
        assert bottom < top2 or bottom2 < top or right < left2 or right2 < left
        np.testing.assert_array_equal(sample["pose_1"], image)
        assert sample["pose_negatives"].shape == (3, 64, 64, 3)
        np.testing.assert_array_equal(sample["pose_negatives"][1], image[:, ::-1])
    assert len(places) == 4


@pytest.mark.parametrize(
    ("make", "key"),
    [
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
