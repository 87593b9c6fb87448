"""The small networks on top of F_s: face and pose subnets, face and pose projectors."""

from torch import nn

from pcfrl_lightning.networks.backbone import conv_block, init_convolutions


class Subnet(nn.Sequential):
    """Two 3x3 convolutions with LeakyReLU(0.1): the map F_s to F_f or F_p, (B, C, h, w) -> (B, C, h, w)."""

    def __init__(self, channels: int) -> None:
        super().__init__(conv_block(channels, channels), conv_block(channels, channels))
        init_convolutions(self)


class Projector(nn.Sequential):
    """Linear, ReLU, Linear, BatchNorm1d: flat F_f or F_p to z_f or z_p, (B, in_features) -> (B, out_features)."""

    def __init__(self, in_features: int, out_features: int = 512) -> None:
        super().__init__(
            nn.Linear(in_features, in_features),
            nn.ReLU(inplace=True),
            nn.Linear(in_features, out_features),
            nn.BatchNorm1d(out_features),
        )
