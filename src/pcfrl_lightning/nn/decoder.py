"""The reconstruction network D: a flat feature to an image."""

import torch.nn.functional as F
from torch import Tensor, nn

PAPER_CHANNELS = (512, 256, 256, 256, 256, 128)
PAPER_BACKBONE_CHANNELS = 128


class UpsampleBlock(nn.Module):
    """ReLU, bilinear enlargement to ``size`` x ``size`` (corners not aligned), 3x3 convolution."""

    def __init__(self, in_channels: int, out_channels: int, size: int) -> None:
        super().__init__()
        self.size = size
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(F.relu(x), size=(self.size, self.size), mode="bilinear", align_corners=False)
        return self.conv(x)


class Decoder(nn.Module):
    """Linear to a 1x1 map, then six enlargements with convolutions: (B, in_features) -> (B, 3, S, S) in [-1, 1].

    The maps have sides ceil(S / 32), ceil(S / 16), ..., S, so any ``image_size`` S comes out exactly; at S = 64 this is
    the paper's decoder (1, 2, 4, ..., 64).

    Args:
        in_features: length of the flat F_f + F_p.
        backbone_channels: channels of the backbone's map; the decoder's channels are the paper's times
            ``backbone_channels / 128``, never more than the paper's.
        image_size: side S of the images, pixels.
    """

    def __init__(self, in_features: int, backbone_channels: int = 128, image_size: int = 64) -> None:
        super().__init__()
        channels = [_scaled(c, backbone_channels) for c in PAPER_CHANNELS]
        sizes = [-(-image_size // 2**k) for k in range(5, -1, -1)]
        self.linear = nn.Linear(in_features, channels[0])
        self.blocks = nn.ModuleList(
            UpsampleBlock(a, b, size) for a, b, size in zip(channels, [*channels[1:], 3], sizes, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in channels[1:])

    def forward(self, features: Tensor) -> Tensor:
        x = self.linear(features)[:, :, None, None]
        for block, norm in zip(self.blocks[:-1], self.norms, strict=True):
            x = norm(block(x))
        return self.blocks[-1](x).tanh()


def _scaled(channels: int, backbone_channels: int) -> int:
    return max(8, round(channels * min(1.0, backbone_channels / PAPER_BACKBONE_CHANNELS)))
