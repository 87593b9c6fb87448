"""Crops, changes of size and turns, each image its own."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Boxes(NamedTuple):
    """K boxes of each image in pixels, (N, K) float each."""

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor


def centre_square(count: int, height: int, width: int, device: torch.device) -> Boxes:
    """The centre square of images (H, W), one box each: what `fit_square` keeps."""
    side = min(height, width)
    numbers = ((height - side) // 2, (width - side) // 2, side, side)
    return Boxes(*(torch.full((count, 1), float(number), device=device) for number in numbers))


def crop(images: Tensor, boxes: Boxes, side: int) -> Tensor:
    """The boxes of images (N, H, C, W), resized to (N, K, S, C, S).

    As OpenCV: averaged over areas where both sides of a box are longer than S, else bilinear.
    """
    count, height, channels, width = images.shape
    average = torch.minimum(boxes.height, boxes.width) > side
    rows = resize_matrix(boxes.top, boxes.height, average, height, side)  # (N, K, S, H)
    columns = resize_matrix(boxes.left, boxes.width, average, width, side)
    tall = rows.flatten(1, 2) @ images.reshape(count, height, channels * width)  # (N, K S, C W)
    tall = tall.view(count, -1, side * channels, width)
    return (tall @ columns.transpose(2, 3)).view(count, -1, side, channels, side)


def resize_matrix(start: Tensor, length: Tensor, average: Tensor, size: int, side: int) -> Tensor:
    """Weights (..., S, size) that bring ``length`` of ``size`` pixels, from ``start`` on, to S.

    Args:
        start, length: (...) float; whole pixels inside the image.
        average: (...) bool, True for means over areas, False for linear interpolation.
        size: pixels of the image in this direction.
        side: S.
    """
    start, length, average = (value[..., None, None] for value in (start, length, average))
    pixel = torch.arange(size, device=start.device)
    place = torch.arange(side, device=start.device)[:, None]
    scale = length / side
    low = start + place * scale
    area = (torch.minimum(low + scale, pixel + 1.0) - torch.maximum(low, pixel.float())).clamp(min=0) / scale
    centre = start + torch.minimum(((place + 0.5) * scale - 0.5).clamp(min=0), length - 1)
    return torch.where(average, area, (1 - (pixel - centre).abs()).clamp(min=0))


def mirror(images: Tensor, chosen: Tensor) -> Tensor:
    """Images (N, H, C, W), mirrored where ``chosen`` (N,) bool."""
    return torch.where(chosen[:, None, None, None], images.flip(3), images)


def turn(images: Tensor, degrees: Tensor) -> Tensor:
    """Square images (N, S, C, S) turned about their centre by ``degrees`` (N,), counter-clockwise.

    Bilinear; what lies outside is reflected about the outermost pixels (`BORDER_REFLECT_101` of OpenCV).
    """
    cos, sin = torch.cos(degrees * (math.pi / 180)), torch.sin(degrees * (math.pi / 180))
    zero = torch.zeros_like(cos)
    matrix = torch.stack([cos, -sin, zero, sin, cos, zero], 1).view(-1, 2, 3)
    planes = images.transpose(1, 2)
    grid = F.affine_grid(matrix, list(planes.shape), align_corners=True)
    return F.grid_sample(planes, grid, padding_mode="reflection", align_corners=True).transpose(1, 2)
