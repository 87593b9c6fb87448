"""Random numbers in [0, 1) turned into the parameters of a batch, with the distributions of `AlbumentationsViews`."""

import math

import torch
from torch import Tensor

from pcfrl_lightning.data.views.appearance import Appearance
from pcfrl_lightning.data.views.batched.appearance import Changes
from pcfrl_lightning.data.views.batched.geometry import Boxes

GEOMETRY = 11  # turn of the target; area, ratio, left and top of two crops; mirror and turn of the pose views
APPEARANCE = 13  # jitter; its four strengths; four keys of its order; grey; blur; sigma; edges
CHANGED = 4  # views of an image whose appearance is changed
NUMBERS = GEOMETRY + CHANGED * APPEARANCE
"""Random numbers for the views of one image."""


def boxes_of(uniform: Tensor, height: int, width: int, scale: tuple[float, float], ratio: tuple[float, float]) -> Boxes:
    """Two random crops of each image from ``uniform`` (N, NUMBERS): area, log of width / height and place are even."""
    area, shape, left, top = uniform[:, 1:9].unflatten(1, (2, 4)).unbind(2)
    pixels = (scale[0] + (scale[1] - scale[0]) * area) * (height * width)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    wide = torch.exp(low + (high - low) * shape)
    w, h = (pixels * wide).sqrt().round().clamp(1, width), (pixels / wide).sqrt().round().clamp(1, height)
    # below 1 by 2^-24 at least, so that no product is rounded up to the number of places
    return Boxes((top * (height - h + 1)).floor(), (left * (width - w + 1)).floor(), h, w)


def moves_of(uniform: Tensor, flip_p: float, rotation: float) -> tuple[Tensor, Tensor, Tensor]:
    """Whether the pose views are mirrored, (N,) bool; turns of the target and of the pose views, (N,) in degrees."""
    return uniform[:, 9] < flip_p, rotation * (2 * uniform[:, 0] - 1), rotation * (2 * uniform[:, 10] - 1)


def changes_of(uniform: Tensor, appearance: Appearance) -> Changes:
    """Appearance of the four changed views of each image from ``uniform`` (N, NUMBERS), M = 4 N, image by image."""
    numbers = uniform[:, GEOMETRY:].reshape(-1, APPEARANCE)
    jittered = numbers[:, 0] < appearance.jitter_p
    sides = (2 * numbers[:, 1:5] - 1) * jittered[:, None]
    strengths = (appearance.brightness, appearance.contrast, appearance.saturation)
    low, high = appearance.blur_sigma
    return Changes(
        factors=1 + torch.stack([sides[:, number] * strength for number, strength in enumerate(strengths)], 1),
        hue=appearance.hue * sides[:, 3],
        rank=numbers[:, 5:9].argsort(1).argsort(1),
        grey=numbers[:, 9] < appearance.gray_p,
        sigma=low + (high - low) * numbers[:, 11],
        blurred=numbers[:, 10] < appearance.blur_p,
        edges=numbers[:, 12] < appearance.sobel_p,
    )
