"""Bilinear enlargement followed by a 3x3 convolution, computed on the small map.

Both steps are linear, so they can be exchanged: the nine taps of the kernel are applied as 1x1 convolutions to the
small map, then each tap's result is enlarged and shifted. Enlarging and shifting along one axis is a matrix, so with A
the (S, s, 3) array of `shifted_enlargement`

    y[o, Y, X] = sum over v, u, j, i of A[Y, v, j] A[X, u, i] sum over c of weight[o, c, j, i] x[c, v, u]

This is exact, borders included, for any pair of sides. At twice the side it needs little more than a quarter of the
multiplications of the convolution on the large map, and that map is neither written nor kept for the backward pass.
"""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class EnlargingConv(nn.Module):
    """Bilinear enlargement (corners not aligned) to ``size`` x ``size``, then a 3x3 convolution with zero padding.

    Equal to ``conv(interpolate(x, size, mode="bilinear"))``; ``conv`` holds the parameters, and is not called.

    Args:
        in_channels: channels of the small map.
        out_channels: channels of the result.
        in_size: side s of the small map.
        size: side S of the result.

    Shapes: (B, in_channels, s, s) -> (B, out_channels, S, S), channels-last.
    """

    axis: Tensor

    def __init__(self, in_channels: int, out_channels: int, in_size: int, size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.size = size
        # (S, s 3): one matrix serves rows and columns, because the maps are square
        self.register_buffer("axis", shifted_enlargement(in_size, size).flatten(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, s, s) -> (B, out_channels, S, S)."""
        taps = self.taps(x)
        batch, side, _, _, _, channels = taps.shape
        taps = taps.transpose(2, 3).reshape(batch, side * 3, side * 3 * channels)  # (B, v j, u i o)
        rows = torch.matmul(self.axis, taps)  # (B, Y, u i o)
        columns = torch.matmul(self.axis, rows.reshape(batch * self.size, side * 3, channels))  # (B Y, X, o)
        return columns.view(batch, self.size, self.size, channels).permute(0, 3, 1, 2)

    def taps(self, x: Tensor) -> Tensor:
        """The nine 1x1 convolutions: (B, c, s, s) -> (B, v, u, j, i, o). The bias is added with the middle tap,
        which never falls outside and whose weights in A A sum to one."""
        out_channels, in_channels = self.conv.weight.shape[:2]
        weight = self.conv.weight.permute(2, 3, 0, 1).reshape(9 * out_channels, in_channels)
        bias = F.pad(cast(Tensor, self.conv.bias), (4 * out_channels, 4 * out_channels))
        return F.linear(x.permute(0, 2, 3, 1), weight, bias).unflatten(3, (3, 3, out_channels))


class EnlargingConvToImage(EnlargingConv):
    """`EnlargingConv` for very few output channels, in the order of products that is fast for them.

    Shapes: (B, in_channels, s, s) -> (B, out_channels, S, S), contiguous.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, s, s) -> (B, out_channels, S, S)."""
        taps = self.taps(x)
        batch, side, _, _, _, channels = taps.shape
        taps = taps.permute(0, 5, 4, 1, 3, 2).reshape(batch * channels * 3, side * 3, side)  # (B o i, v j, u)
        rows = torch.matmul(self.axis, taps).view(batch, channels, 3, self.size, side)  # (B, o, i, Y, u)
        rows = rows.permute(0, 1, 3, 4, 2).reshape(batch * channels * self.size, side * 3)  # (B o Y, u i)
        return F.linear(rows, self.axis).view(batch, channels, self.size, self.size)


def shifted_enlargement(in_size: int, size: int) -> Tensor:
    """A[Y, v, j]: the weight of small pixel v in large pixel Y + j - 1 of a bilinear enlargement; 0 outside the map.

    Shape: (size, in_size, 3), float32.
    """
    unit = torch.eye(in_size, device="cpu")[None]
    enlarge = F.interpolate(unit, size=size, mode="linear", align_corners=False)[0].T  # (S, s)
    padded = F.pad(enlarge, (0, 0, 1, 1))
    return torch.stack([padded[tap : tap + size] for tap in range(3)], dim=2).to(torch.get_default_device())
