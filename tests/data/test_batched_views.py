"""The batched operations of `DeviceViews`, each against OpenCV, albumentations or torchvision with the same parameters.

Levels are steps of 1 / 255: what is compared with rounds, or cuts off, to whole levels after every operation.
"""

import cv2
import numpy as np
import pytest
import torch
from albumentations.augmentations.pixel import functional as pixel
from torch import Tensor
from torchvision.transforms.v2 import functional as vision

from pcfrl_lightning.data.loaders import fit_square
from pcfrl_lightning.data.views.appearance import gaussian_blur, sobel_uint8
from pcfrl_lightning.data.views.batched.appearance import Changes, blend, blur, edge_strength, jitter, turn_hue
from pcfrl_lightning.data.views.batched.geometry import Boxes, centre_square, crop, mirror, turn
from pcfrl_lightning.data.views.cpu import AlbumentationsViews
from pictures import noise, smooth

FACTORS = torch.tensor([0.2, 0.55, 1.0, 1.3, 1.8])
CHANGES = (
    pixel.adjust_brightness_torchvision,
    pixel.adjust_contrast_torchvision,
    pixel.adjust_saturation_torchvision,
    pixel.adjust_hue_torchvision,
)


def rows(images: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 as (N, H, 3, W) in [0, 1]."""
    return torch.from_numpy(images).permute(0, 1, 3, 2).float() / 255


def levels(views: Tensor) -> np.ndarray:
    """(..., H, C, W) in [0, 1] as (..., H, W, C) in levels."""
    return (views * 255).transpose(-1, -2).numpy()


def assert_within(found: Tensor, expected: list[np.ndarray], most: float) -> None:
    assert np.abs(levels(found) - np.stack(expected).astype(np.float32)).max() <= most


@pytest.mark.parametrize(
    ("number", "weights"),
    [
        (0, lambda f: (f, 0 * f, 0 * f)),
        (1, lambda f: (f, 0 * f, 1 - f)),
        (2, lambda f: (f, 1 - f, 0 * f)),
    ],
)
def test_brightness_contrast_and_saturation_are_those_of_albumentations(number, weights):
    images = noise(len(FACTORS))
    found = blend(rows(images), torch.stack(weights(FACTORS), 1))
    expected = [CHANGES[number](image, float(factor)) for image, factor in zip(images, FACTORS, strict=True)]
    assert_within(found, expected, 1.5)


def test_grey_is_that_of_opencv():
    images = noise(2)
    found = blend(rows(images), torch.tensor([[0.0, 1.0, 0.0]]).expand(2, 3))
    assert_within(found, [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] for image in images], 0.51)


def test_hue_is_that_of_torchvision_and_up_to_steps_of_two_degrees_that_of_albumentations():
    images, turns = noise(5), torch.tensor([-0.5, -0.13, 0.0, 0.07, 0.2])
    found = turn_hue(rows(images), turns)
    exact = [
        vision.adjust_hue(image.transpose(0, 1), float(by)).transpose(0, 1)
        for image, by in zip(rows(images), turns, strict=True)
    ]
    torch.testing.assert_close(found, torch.stack(exact), atol=2e-5, rtol=0)
    rounded = [pixel.adjust_hue_torchvision(image, float(by)) for image, by in zip(images, turns, strict=True)]
    assert_within(found, rounded, 19)  # 2 degrees are 8.5 levels, and saturation has 256 steps
    assert np.abs(levels(found) - np.stack(rounded)).mean() < 3


def test_hue_of_grey_and_of_pure_colours():
    colours = np.array([[[[0, 0, 0], [255, 255, 255], [90, 90, 90], [255, 0, 0], [0, 255, 0], [0, 0, 255]]]], np.uint8)
    expected = [[[0, 0, 0], [255, 255, 255], [90, 90, 90], [0, 255, 0], [0, 0, 255], [255, 0, 0]]]
    assert_within(turn_hue(rows(colours), torch.tensor([1 / 3])), [np.array(expected)], 0.01)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1)])
def test_jitter_keeps_its_order(order):
    """The four changes do not commute: another order is off by tens of levels."""
    factors, turned = (1.4, 0.6, 1.6), 40 / 180  # a whole number of OpenCV's steps
    images = smooth(1, 24, 24)
    rank = torch.tensor([[order.index(number) for number in range(4)]])
    no = torch.zeros(1, dtype=torch.bool)
    changes = Changes(torch.tensor([factors]), torch.tensor([turned]), rank, no, torch.ones(1), no, no)
    expected = images[0]
    for number in order:
        expected = CHANGES[number](expected, (*factors, turned)[number])
    difference = np.abs(levels(jitter(rows(images), changes)) - expected)
    assert difference.mean() < 3.5
    assert np.quantile(difference, 0.95) < 10
    other = levels(jitter(rows(images), changes._replace(rank=rank.flip(1))))
    assert np.abs(other - expected).mean() > 5


@pytest.mark.parametrize("taps", [1, 3, 7, 25])
def test_blur_is_that_of_opencv(taps):
    images, sigma = noise(4, 16, 16), torch.tensor([0.1, 0.8, 2.0, 1.0])
    found = blur(rows(images), sigma, torch.tensor([True, True, True, False]), taps)
    expected = [gaussian_blur(image, taps, float(s)) for image, s in zip(images[:3], sigma, strict=False)]
    assert_within(found, [*expected, images[3]], 1.5)  # the weights of OpenCV have 8 bits


def test_edges_are_those_of_the_default_views():
    images = np.concatenate([noise(2), smooth(2, 24, 24)])
    found = edge_strength(rows(images))
    assert found.shape == (4, 24, 1, 24)
    assert_within(found, [sobel_uint8(image)[..., None] for image in images], 0.52)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 52), (20, 17)])
def test_crops_are_resized_as_opencv_does(height, width):
    """Averaged over areas, or interpolated, or one side longer and the other shorter than the view."""
    images = smooth(3, height, width)
    spans = [[(0, 0, height, width), (3, 2, 11, 9)], [(1, 4, 12, 13), (2, 0, height - 2, 10)], [(0, 3, 9, 12)] * 2]
    boxes = Boxes(*torch.tensor(spans, dtype=torch.float32).unbind(2))
    found = crop(rows(images), boxes, 16)
    views = AlbumentationsViews(16)
    for image, of_image, spans_of_image in zip(images, found, spans, strict=True):
        expected = [views._resize(image[top : top + h, left : left + w]) for top, left, h, w in spans_of_image]
        assert_within(of_image, expected, 1.0)


@pytest.mark.parametrize(("height", "width"), [(40, 61), (16, 16), (12, 9)])
def test_the_centre_square_is_that_of_plain_images(height, width):
    images = noise(2, height, width)
    found = crop(rows(images), centre_square(2, height, width, torch.device("cpu")), 16)[:, 0]
    assert_within(found, [fit_square(image, 16) for image in images], 0.001 if height == 16 else 1.0)


def test_images_are_mirrored_and_turned_each_for_itself():
    images, degrees = smooth(4, 48, 48), torch.tensor([0.0, 20.0, -45.0, 3.5])
    flip = torch.tensor([True, False, True, False])
    views = AlbumentationsViews(48)
    expected = [
        views._move(image, bool(mirrored), float(angle))
        for image, mirrored, angle in zip(images, flip, degrees, strict=True)
    ]
    found = turn(mirror(rows(images), flip), degrees)
    assert np.abs(levels(found) - np.stack(expected)).max() <= 3  # OpenCV takes 1 / 32 of a pixel
    assert_within(found[:1], [images[0, :, ::-1]], 0.01)
