"""Colour, blur and edges, each image its own; what `data.views.appearance` does to one image."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

_GREY = (0.299, 0.587, 0.114)
_LUMA = (65.738 / 256, 129.057 / 256, 25.064 / 256)  # of the edges of the public PCL code
_EPSILON = 1e-6
_CHANGES = 3  # brightness, contrast, saturation: a sum of the image, its grey and its mean; hue is no such sum


class Changes(NamedTuple):
    """The changes of M images; what does not happen to an image has the value that changes nothing.

    Attributes:
        factors: (M, 3) of brightness, contrast and saturation, at least 0.
        hue: (M,) turn of the hue in full turns.
        rank: (M, 4) long, when brightness, contrast, saturation and hue are changed: a permutation of 0..3.
        grey: (M,) bool.
        sigma: (M,) of the blur in pixels.
        blurred: (M,) bool.
        edges: (M,) bool.
    """

    factors: Tensor
    hue: Tensor
    rank: Tensor
    grey: Tensor
    sigma: Tensor
    blurred: Tensor
    edges: Tensor


def change(images: Tensor, changes: Changes, taps: int) -> Tensor:
    """RGB images (M, S, 3, S) with all changes; ``taps`` is the width of the blur in pixels."""
    images = jitter(images, changes)
    images = blur(images, changes.sigma, changes.blurred, taps)
    return torch.where(changes.edges[:, None, None, None], edge_strength(images), images)


def jitter(images: Tensor, changes: Changes) -> Tensor:
    """Brightness, contrast, saturation and hue in the order of each image, then grey.

    The hue, the costly one, is turned once for all images: what comes before it in an image's order has three places
    before it, the rest three places after it, and a place that an image does not use leaves it as it is.
    """
    first, second = _weights(changes)
    for place in range(_CHANGES):
        images = blend(images, first[:, place])
    images = turn_hue(images, changes.hue)
    for place in range(_CHANGES + 1):
        images = blend(images, second[:, place])
    return images


def _weights(changes: Changes) -> tuple[Tensor, Tensor]:
    """Weights for `blend` of the places before the hue (M, 3, 3), and after it, grey the last (M, 4, 3)."""
    rank = changes.rank[:, :_CHANGES]
    slot = torch.where(rank < changes.rank[:, _CHANGES:], rank, rank + _CHANGES - 1)
    here = slot[:, :, None] == torch.arange(2 * _CHANGES, device=slot.device)
    change = torch.where(here, changes.factors[:, :, None] - 1, 0.0)  # (M, 3 changes, 6 places)
    own, grey = 1 + change.sum(1), changes.grey.float()[:, None]
    own, to_mean = torch.cat([own, 1 - grey], 1), F.pad(-change[:, 1], (0, 1))
    weights = torch.stack([own, torch.cat([-change[:, 2], grey], 1), to_mean], 2)
    return weights[:, :_CHANGES], weights[:, _CHANGES:]


def blend(images: Tensor, weights: Tensor) -> Tensor:
    """Sum of images (M, H, 3, W), their grey, and the mean of their grey, cut to [0, 1]; ``weights`` (M, 3) of these.

    Brightness b is (b, 0, 0), contrast c is (c, 0, 1 - c), saturation s is (s, 1 - s, 0), grey is (0, 1, 0).
    """
    own, to_grey, to_mean = weights[:, :, None, None, None].unbind(1)
    grey = weighted(images, _GREY)
    return (own * images + (to_grey * grey + to_mean * grey.mean((1, 2, 3), keepdim=True))).clamp(0, 1)


def weighted(images: Tensor, weights: tuple[float, float, float]) -> Tensor:
    """Weighted sum of the channels, (M, H, 3, W) -> (M, H, 1, W)."""
    red, green, blue = images.split(1, 2)
    return red * weights[0] + green * weights[1] + blue * weights[2]


def turn_hue(images: Tensor, turns: Tensor) -> Tensor:
    """Images (M, H, 3, W) with the hue turned by ``turns`` (M,), 1 for a full turn; saturation and value are kept.

    A channel is V - C max(0, min(k, 4 - k, 1)) with k = (n + 6 hue) mod 6, n = 5, 3, 1 for red, green, blue, value V
    and chroma C (the conversion from HSV in closed form).
    """
    red, green, blue = images.split(1, 2)
    value, least = images.amax(2, keepdim=True), images.amin(2, keepdim=True)
    chroma = value - least
    divisor = torch.where(chroma > 0, chroma, 1.0)
    sixth = torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor)
    sixth = torch.where(value == red, (green - blue) / divisor, sixth) + 6 * turns[:, None, None, None]
    n = 5 - 2 * torch.arange(3, device=images.device)[:, None]
    k = (sixth + n).remainder(6)
    return value - chroma * torch.minimum(k, 4 - k).clamp(0, 1)


def blur(images: Tensor, sigma: Tensor, chosen: Tensor, taps: int) -> Tensor:
    """Square images (M, S, C, S), those that are ``chosen`` (M,) blurred by a Gaussian of ``sigma`` (M,) pixels.

    ``taps`` (odd) is the width of the kernel; images are reflected about their outermost pixels.
    """
    count, side, channels, _ = images.shape
    matrix = blur_matrix(sigma, chosen, taps, side)
    tall = (matrix @ images.reshape(count, side, channels * side)).view(count, side * channels, side)
    return (tall @ matrix.transpose(1, 2)).view(count, side, channels, side)


def blur_matrix(sigma: Tensor, chosen: Tensor, taps: int, side: int) -> Tensor:
    """(M, S, S): row i holds the weights of the pixels that are averaged at i; the unit matrix where not ``chosen``."""
    pixel = torch.arange(side, device=sigma.device)
    offset = torch.arange(taps, device=sigma.device) - taps // 2
    weight = (-0.5 * (offset / sigma[:, None]) ** 2).softmax(1)  # (M, taps)
    source = (pixel[:, None] + offset).remainder(2 * (side - 1))
    source = (side - 1) - (side - 1 - source).abs()  # reflected, (S, taps)
    spread = (source.T[:, :, None] == pixel).float().flatten(1)  # (taps, S S)
    unit = (pixel[:, None] == pixel).float()
    return torch.where(chosen[:, None, None], (weight @ spread).view(-1, side, side), unit)


def edge_strength(images: Tensor) -> Tensor:
    """(M, H, 3, W) -> (M, H, 1, W): sqrt(gx^2 + gy^2 + 1e-6) of the luma, at most 1; zeros lie outside of the image."""
    luma = F.pad(weighted(images, _LUMA).squeeze(2), (1, 1, 1, 1))
    gx = luma[:, 1:-1, 2:] - luma[:, 1:-1, :-2]
    gy = luma[:, 2:, 1:-1] - luma[:, :-2, 1:-1]
    return (gx * gx + gy * gy + _EPSILON).sqrt().clamp(max=1).unsqueeze(2)
