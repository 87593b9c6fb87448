"""The trunk of the paper: 10 convolution blocks, 2 channel attentions and 2 residual blocks."""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcfrl_lightning.errors import require

SLOPE = 0.1


def conv_block(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution that keeps the size (divided by ``stride``, rounded up) and LeakyReLU(0.1)."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2)
    return nn.Sequential(conv, nn.LeakyReLU(SLOPE, inplace=True))


class StemConv(nn.Conv2d):
    """The first convolution, 7x7 with stride 2 on three channels: (B, 3, H, W) -> (B, C, ceil(H / 2), ceil(W / 2)).

    On CUDA it is computed as a 4x4 convolution of the 2x2 blocks of pixels (``blockwise_stem``): tensor cores read
    channels in groups of eight, and on three of them the plain form took as long as a 3x3 convolution with 64 channels,
    which has four times its work. On the CPU the plain form is the faster one.
    """

    def __init__(self, out_channels: int) -> None:
        super().__init__(3, out_channels, 7, stride=2, padding=3)

    def forward(self, images: Tensor) -> Tensor:
        if images.is_cuda:
            return blockwise_stem(images, self.weight, self.bias)
        return super().forward(images)


def blockwise_stem(images: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``conv2d(images, weight, bias, stride=2, padding=3)`` of a 7x7 kernel as a 4x4 convolution with stride 1.

    A block of 2x2 pixels becomes one position with all its channels. Pixel 2 o + k - 3 of output o and tap k lies in
    block o + m - 2 at place q, with k = 2 m + q - 1: the kernel gets a row and a column of zeros in front. The image
    gets a channel of zeros, which makes 16 channels of 12.

    Args:
        images: (B, 3, H, W).
        weight: (C, 3, 7, 7).
        bias: (C,).

    Returns:
        (B, C, ceil(H / 2), ceil(W / 2)).
    """
    height, width = images.shape[2:]
    blocks = F.pixel_unshuffle(F.pad(images, (4, 2 + width % 2, 4, 2 + height % 2, 0, 1)), 2)
    taps = F.pixel_unshuffle(F.pad(weight, (1, 0, 1, 0, 0, 1)), 2)
    last = torch.channels_last
    return F.conv2d(blocks.contiguous(memory_format=last), taps.contiguous(memory_format=last), bias)


class ResidualBlock(nn.Module):
    """``LeakyReLU(x + conv(LeakyReLU(conv(x))))``, (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = F.leaky_relu(self.conv1(x), SLOPE, inplace=True)
        return F.leaky_relu(self.conv2(hidden) + x, SLOPE, inplace=True)


class ChannelAttention(nn.Module):
    """Mixes the channels of a map by a matrix computed from the map itself, plus the map (no scale, no learnt gate).

    With N = H W positions, ``gather`` G = softmax over channels, ``attend`` Theta = softmax over positions and
    ``project`` Phi, each from a 1x1 convolution of x: ``y = LeakyReLU(x + (Phi Theta^T) G)``. The softmaxes are
    computed in float32 under autocast. Source: method section 1 (layers 4 and 7 of the public network).

    Phi is never computed: the rows of Theta sum to one, so ``Phi Theta^T = W (x Theta^T) + b``, a product of C x C
    matrices. For the same reason the bias of ``attend`` changes nothing; its gradient is zero.

    Shapes: (B, C, H, W) -> (B, C, H, W); fastest for channels-last input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gather = nn.Conv2d(channels, channels, 1)
        self.attend = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        precise = torch.promote_types(x.dtype, torch.float32)
        rows = x.flatten(2).transpose(1, 2)  # (B, N, C), a view
        gather = self.gather(x).flatten(2).transpose(1, 2)
        gather = F.softmax(gather, dim=2, dtype=precise).to(gather.dtype)
        # (B, C, N): each softmax along the axis that lies in one piece, where it is several times faster; x.shape[0],
        # because len(x) is a constant in a traced graph
        weight = self.attend.weight.flatten(1).to(x.dtype).expand(x.shape[0], -1, -1)
        attend = torch.bmm(weight, rows.transpose(1, 2))
        attend = F.softmax(attend, dim=2, dtype=precise).to(attend.dtype)
        # in the graph so that every process of a distributed run has a gradient for it
        bias = cast(Tensor, self.project.bias) + 0.0 * cast(Tensor, self.attend.bias)
        mixing = F.linear(torch.bmm(attend, rows), self.project.weight.flatten(1), bias)  # (B, C, C), transposed
        mixed = torch.bmm(gather, mixing)
        return F.leaky_relu(x + mixed.transpose(1, 2).unflatten(2, x.shape[2:]), SLOPE)


class FaceBackbone(nn.Module):
    """Trunk B of the paper: images to the map F_s, total stride 16 (method section 1).

    Args:
        width: multiplies every channel count (1.0 = the paper's 64/128/256). Counts are rounded to a multiple of 8.

    Shapes: (B, 3, H, W) in [0, 1] -> (B, ``out_channels``, ceil(H / 16), ceil(W / 16)); ``out_channels`` is 128 at
    width 1.0.

    Raises:
        ValueError: ``width`` is not a positive number, or an image has a side under ``stride`` pixels.
    """

    stride = 16

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        valid = math.isfinite(width) and width > 0
        require(valid, f"width must be a positive number (1.0 = the paper), got {width}")
        self.width = width
        c64, c128, c256 = (max(8, 8 * round(channels * width / 8)) for channels in (64, 128, 256))
        self.out_channels = c128
        stem = nn.Sequential(StemConv(c64), nn.LeakyReLU(SLOPE, inplace=True))
        self.stem = nn.Sequential(stem, conv_block(c64, c64))
        self.layer1 = nn.Sequential(conv_block(c64, c64), ChannelAttention(c64), conv_block(c64, c64))
        self.layer2 = nn.Sequential(conv_block(c64, c128, stride=2), ChannelAttention(c128), conv_block(c128, c128))
        self.residual = nn.Sequential(ResidualBlock(c128), ResidualBlock(c128))
        self.layer3 = nn.Sequential(conv_block(c128, c128, stride=2), conv_block(c128, c128))
        self.layer4 = nn.Sequential(conv_block(c128, c256, stride=2), conv_block(c256, c128))
        init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) images to the map F_s."""
        height, width = images.shape[2:]
        fits = min(height, width) >= self.stride
        require(fits, f"images of {height} x {width} px: sides must be {self.stride} px or more")
        x = self.layer2(self.layer1(self.stem(images)))
        return self.layer4(self.layer3(self.residual(x)))


def init_convolutions(module: nn.Module) -> None:
    """Every convolution of ``module``: weights N(0, 2 / (k^2 C_out)), bias 0 (the public network's encoder)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d) and layer.bias is not None:
            fan = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels
            nn.init.normal_(layer.weight, std=math.sqrt(2.0 / fan))
            nn.init.zeros_(layer.bias)
