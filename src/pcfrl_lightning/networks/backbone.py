"""The trunk of the paper: 10 convolution blocks, 2 channel attentions and 2 residual blocks."""

import math

import torch.nn.functional as F
from torch import Tensor, nn

from pcfrl_lightning.networks.attention import ChannelAttention

SLOPE = 0.1


def conv(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Conv2d:
    """A convolution with bias that keeps the size (divided by ``stride``, rounded up)."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2)


def conv_block(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution and LeakyReLU(0.1)."""
    return nn.Sequential(conv(in_channels, out_channels, kernel_size, stride), nn.LeakyReLU(SLOPE, inplace=True))


class ResidualBlock(nn.Module):
    """``LeakyReLU(x + conv(LeakyReLU(conv(x))))``, (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = conv(channels, channels)
        self.conv2 = conv(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        hidden = F.leaky_relu(self.conv1(x), SLOPE, inplace=True)
        return F.leaky_relu(self.conv2(hidden) + x, SLOPE, inplace=True)


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
        if not (math.isfinite(width) and width > 0):
            raise ValueError(f"width must be a positive number (1.0 = the paper), got {width}")
        self.width = width
        c64, c128, c256 = (_scaled(channels, width) for channels in (64, 128, 256))
        self.out_channels = c128
        self.stem = nn.Sequential(conv_block(3, c64, 7, stride=2), conv_block(c64, c64))
        self.layer1 = nn.Sequential(conv_block(c64, c64), ChannelAttention(c64, SLOPE), conv_block(c64, c64))
        self.layer2 = nn.Sequential(
            conv_block(c64, c128, stride=2), ChannelAttention(c128, SLOPE), conv_block(c128, c128)
        )
        self.residual = nn.Sequential(ResidualBlock(c128), ResidualBlock(c128))
        self.layer3 = nn.Sequential(conv_block(c128, c128, stride=2), conv_block(c128, c128))
        self.layer4 = nn.Sequential(conv_block(c128, c256, stride=2), conv_block(c256, c128))
        init_convolutions(self)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) images to the map F_s."""
        if min(images.shape[2:]) < self.stride:
            raise ValueError(
                f"images of {images.shape[2]} x {images.shape[3]} px: sides must be {self.stride} px or more"
            )
        x = self.layer2(self.layer1(self.stem(images)))
        return self.layer4(self.layer3(self.residual(x)))


def init_convolutions(module: nn.Module) -> None:
    """Every convolution of ``module``: weights N(0, 2 / (k^2 C_out)), bias 0 (the public network's encoder)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            fan = layer.kernel_size[0] * layer.kernel_size[1] * layer.out_channels
            nn.init.normal_(layer.weight, std=math.sqrt(2.0 / fan))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def _scaled(channels: int, width: float) -> int:
    """Channel count at a width: the nearest multiple of 8, at least 8."""
    return max(8, 8 * round(channels * width / 8))
