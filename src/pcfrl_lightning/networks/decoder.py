"""The reconstruction network D: a flat feature to an image."""

import torch.nn.functional as F
from torch import Tensor, nn

from pcfrl_lightning.networks.enlarge import EnlargingConv, EnlargingConvToImage

PAPER_CHANNELS = (512, 256, 256, 256, 256, 128)
PAPER_BACKBONE_CHANNELS = 128


class Decoder(nn.Module):
    """Linear to a 1x1 map, then six times ReLU, enlargement, convolution: (B, in_features) -> (B, 3, S, S) in [-1, 1].

    A BatchNorm follows every convolution but the last, which is followed by tanh. The maps have sides ceil(S / 32),
    ceil(S / 16), ..., S, so any ``image_size`` S comes out exactly; at S = 64 this is the paper's decoder.

    Args:
        in_features: length of the flat F_f + F_p.
        backbone_channels: channels of the backbone's map; the decoder's channels are the paper's times
            ``backbone_channels / 128``, never more than the paper's.
        image_size: side S of the images, pixels.
    """

    def __init__(self, in_features: int, backbone_channels: int = 128, image_size: int = 64) -> None:
        super().__init__()
        share = min(1.0, backbone_channels / PAPER_BACKBONE_CHANNELS)
        channels = [max(8, round(c * share)) for c in PAPER_CHANNELS]
        sizes = [1] + [-(-image_size // 2**k) for k in range(5, -1, -1)]
        self.linear = nn.Linear(in_features, channels[0])
        self.blocks = nn.ModuleList(
            EnlargingConv(channels[i], channels[i + 1], sizes[i], sizes[i + 1]) for i in range(len(channels) - 1)
        )
        self.blocks.append(EnlargingConvToImage(channels[-1], 3, sizes[-2], sizes[-1]))
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in channels[1:])

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_features) L2-normalised F_f + F_p to (B, 3, S, S)."""
        x = self.linear(features)[:, :, None, None]
        for block, norm in zip(self.blocks[:-1], self.norms, strict=True):
            x = norm(block(F.relu(x)))
        return self.blocks[-1](F.relu(x)).tanh()
