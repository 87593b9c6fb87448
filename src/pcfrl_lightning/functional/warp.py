"""Images moved by a flow, and how alike two images are: what cycles of faces are compared with."""

import torch
from torch import Tensor
from torch.nn import functional as nf

from pcfrl_lightning.functional.precision import full_precision


@full_precision
def warp(images: Tensor, flow: Tensor) -> Tensor:
    """``out[y, x] = images[y + v, x + u]``, bilinear; places outside are those of the nearest border pixel.

    Args:
        images: (B, C, H, W) images or maps.
        flow: (B, 2, h, w) u to the right and v down, in half sides (2 is the whole side); enlarged where it is smaller.
    """
    height, width = images.shape[2:]
    if flow.shape[2:] != images.shape[2:]:
        flow = nf.interpolate(flow, size=(height, width), mode="bilinear", align_corners=False)
    x, y = ((2 * torch.arange(side, device=flow.device, dtype=flow.dtype) + 1) / side - 1 for side in (width, height))
    places = torch.stack([x + flow[:, 0], y.unsqueeze(1) + flow[:, 1]], dim=3)
    return nf.grid_sample(images, places, mode="bilinear", padding_mode="border", align_corners=False)


def backward_flow(flow: Tensor) -> Tensor:
    """The flow that undoes a small smooth one: one step of ``b(q) = -f(q + b(q))`` from ``b = -f``, (B, 2, h, w)."""
    return -warp(flow, -flow)


@full_precision
def structural_similarity(first: Tensor, second: Tensor, taps: int = 11, sigma: float = 1.5) -> Tensor:
    """Mean SSIM (Wang et al. 2004) of images (B, C, H, W) in [0, 1] over windows that lie inside; 1 for equal ones.

    Args:
        first, second: the images, at least ``taps`` pixels on each side.
        taps: side of the Gaussian window in pixels.
        sigma: its standard deviation in pixels.
    """
    offsets = torch.arange(taps, device=first.device, dtype=first.dtype) - (taps - 1) / 2
    line = (-(offsets**2) / (2 * sigma**2)).softmax(dim=0)
    parts = torch.stack([first, second, first * first, second * second, first * second])
    flat = parts.flatten(0, 2).unsqueeze(1)
    flat = nf.conv2d(nf.conv2d(flat, line.view(1, 1, -1, 1)), line.view(1, 1, 1, -1))
    mean_1, mean_2, square_1, square_2, product = flat.unflatten(0, (5, -1)).squeeze(2)
    variances = square_1 - mean_1**2 + square_2 - mean_2**2
    covariance = product - mean_1 * mean_2
    c1, c2 = 0.01**2, 0.03**2
    alike = (2 * mean_1 * mean_2 + c1) * (2 * covariance + c2)
    return (alike / ((mean_1**2 + mean_2**2 + c1) * (variances + c2))).mean()
