"""The trunk of the paper: 10 convolution blocks, 2 channel attentions and 2 residual blocks."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pcfrl_lightning.errors import require

SLOPE = 0.1


def conv_block(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution that keeps the size (divided by ``stride``, rounded up) and LeakyReLU(0.1)."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2)
    return nn.Sequential(conv, nn.LeakyReLU(SLOPE, inplace=True))


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

    Shapes: (B, C, H, W) -> (B, C, H, W); fastest for channels-last input.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gather = nn.Conv2d(channels, channels, 1)
        self.attend = nn.Conv2d(channels, channels, 1)
        self.project = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        precise = torch.promote_types(x.dtype, torch.float32)
        # (B, C, H, W) -> (B, N, C) each, views
        gather, attend, project = (
            layer(x).flatten(2).transpose(1, 2) for layer in (self.gather, self.attend, self.project)
        )
        gather = F.softmax(gather, dim=2, dtype=precise).to(project.dtype)
        attend = F.softmax(attend, dim=1, dtype=precise).to(project.dtype)
        # (B, C, N) (B, N, C) -> (B, C, C), here transposed so that the product with (B, N, C) needs no copy
        mixed = torch.bmm(gather, torch.bmm(attend.transpose(1, 2), project))
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
        self.stem = nn.Sequential(conv_block(3, c64, 7, stride=2), conv_block(c64, c64))
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
