"""The channel attention of the trunk."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Mixes the channels of a map by a matrix computed from the map itself, plus the map (no scale, no learnt gate).

    With N = H W positions, ``gather`` G = softmax over channels, ``attend`` Theta = softmax over positions and
    ``project`` Phi, each from a 1x1 convolution of x: ``y = LeakyReLU(x + (Phi Theta^T) G)``. The softmaxes are
    computed in float32 under autocast. Source: method section 1 (layers 4 and 7 of the public network).

    Shapes: (B, C, H, W) -> (B, C, H, W); fastest for channels-last input.
    """

    def __init__(self, channels: int, negative_slope: float = 0.1) -> None:
        super().__init__()
        self.gather = nn.Conv2d(channels, channels, 1)
        self.attend = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)
        self.negative_slope = negative_slope

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        precise = torch.promote_types(x.dtype, torch.float32)
        gather = F.softmax(_positions_first(self.gather(x)), dim=2, dtype=precise)
        attend = F.softmax(_positions_first(self.attend(x)), dim=1, dtype=precise)
        project = _positions_first(self.project(x))
        # (B, C, N) (B, N, C) -> (B, C, C), here transposed so that the product with (B, N, C) needs no copy
        mixing = torch.bmm(attend.to(project.dtype).transpose(1, 2), project)
        mixed = torch.bmm(gather.to(project.dtype), mixing)
        return F.leaky_relu(x + mixed.transpose(1, 2).unflatten(2, x.shape[2:]), self.negative_slope)


def _positions_first(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, H W, C), a view."""
    return x.flatten(2).transpose(1, 2)
