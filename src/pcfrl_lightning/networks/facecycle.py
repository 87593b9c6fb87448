"""The networks of FaceCycle: two encoders, a flow out of a code, a generator of moved faces, a re-normalisation."""

from copy import deepcopy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as nf

from pcfrl_lightning.functional.precision import full_precision
from pcfrl_lightning.functional.warp import warp
from pcfrl_lightning.networks.backbone import FaceBackbone, ResidualBlock, conv_block
from pcfrl_lightning.networks.encoder import Encoder
from pcfrl_lightning.networks.network import map_shape

LONGEST = 0.5
"""Longest movement of a pixel, in half sides of the image."""


class Code(nn.Sequential):
    """A map (B, C, h, w) to a code (B, ``length``) in [-1, 1], by two linear layers."""

    def __init__(self, features: int, length: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(features, 512), nn.LeakyReLU(0.1), nn.Linear(512, length), nn.Tanh())


class FlowDecoder(nn.Sequential):
    """A code (B, ``length``) to a flow (B, 2, 16, 16) from the neutral face to the face, in half sides."""

    def __init__(self, length: int, width: int) -> None:
        last = nn.Conv2d(width, 2, 3, padding=1)
        nn.init.normal_(last.weight, std=1e-2)  # a face is neutral until it is learned what moves
        nn.init.zeros_(cast(Tensor, last.bias))
        super().__init__(
            nn.Linear(length, 2 * width * 16),
            nn.Unflatten(1, (2 * width, 4, 4)),
            nn.LeakyReLU(0.1),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            conv_block(2 * width, width),
            ResidualBlock(width),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            conv_block(width, width),
            last,
            nn.Tanh(),
        )

    def forward(self, code: Tensor) -> Tensor:
        return LONGEST * super().forward(code)


class Halving(nn.ModuleList):
    """Images (B, 3, H, W) to maps of half and of a quarter of the side, (B, width, ...) and (B, 2 width, ...)."""

    def __init__(self, width: int) -> None:
        super().__init__(
            [
                nn.Sequential(conv_block(3, width, stride=2), conv_block(width, width)),
                nn.Sequential(conv_block(width, 2 * width, stride=2), conv_block(2 * width, 2 * width)),
            ]
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        half = self[0](images)
        return half, self[1](half)


class Generator(nn.Module):
    """A face whose features are moved by a flow: (B, 3, H, W) in [0, 1] to the same.

    Args:
        width: channels of the maps of half the side.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.maps = Halving(width)
        self.body = nn.Sequential(ResidualBlock(2 * width), ResidualBlock(2 * width))
        self.up = conv_block(2 * width, width)
        self.out = nn.Sequential(conv_block(2 * width, width), nn.Conv2d(width, 3, 3, padding=1))

    def forward(self, faces: Tensor, flow: Tensor | None = None) -> Tensor:
        """Without a flow: the face itself, coded and decoded."""
        half, quarter = self.maps(faces)
        if flow is not None:
            half, quarter = warp(half, flow), warp(quarter, flow)
        x = self.up(enlarged(self.body(quarter), half))
        x = self.out(enlarged(torch.cat([x, half], dim=1), faces))
        return brightness(x)


class Renormalizer(nn.Module):
    """Neutral faces and mean face: features that are normalised per image get scale and shift from the identity code.

    Args:
        length: of the code.
        width: channels of the maps of half the side.
    """

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.maps = Halving(width)
        self.norm = nn.InstanceNorm2d(2 * width)
        self.remove = nn.Linear(length, 4 * width)
        self.add = nn.Linear(length, 4 * width)
        self.body = nn.Sequential(ResidualBlock(2 * width), ResidualBlock(2 * width))
        self.out = nn.Sequential(conv_block(2 * width, width), nn.Conv2d(width, 3, 3, padding=1))

    def de_identify(self, faces: Tensor, code: Tensor) -> Tensor:
        """(B, 3, H, W) neutral faces to what they share."""
        return self._scaled(faces, self.remove(code))

    def re_identify(self, faces: Tensor, code: Tensor) -> Tensor:
        """(B, 3, H, W) mean faces to neutral ones of the people of the codes."""
        return self._scaled(faces, self.add(code))

    def _scaled(self, faces: Tensor, parameters: Tensor) -> Tensor:
        _, quarter = self.maps(faces)
        scale, shift = parameters[:, :, None, None].chunk(2, dim=1)
        x = self.body(self.norm(quarter) * (1 + scale) + shift)
        return brightness(self.out(enlarged(x, faces)))


class FaceCycleNetwork(Encoder):
    """Everything that FaceCycle trains; F_s is the map of the motion encoder, ``f_id`` that of the identity encoder.

    Args:
        backbone: maps (B, 3, H, W) images to (B, C, h, w); the identity encoder is a second one that begins with the
            same weights. Default: the paper's trunk at width 1.0.
        image_size: side of the images of pretraining, pixels, at least 16.
        code_dim: length of the motion code and of the identity code, at least 1.
        generator_width: channels of the generators' maps of half the side, at least 1.
    """

    feature_names = ("f_s", "f_id")

    def __init__(
        self, backbone: nn.Module | None = None, image_size: int = 64, code_dim: int = 256, generator_width: int = 64
    ) -> None:
        super().__init__()
        if code_dim < 1 or generator_width < 1 or image_size < 16:
            raise ValueError(
                "FaceCycle needs code_dim >= 1, generator_width >= 1 and image_size >= 16, "
                f"got {code_dim}, {generator_width} and {image_size}"
            )
        self.backbone = backbone or FaceBackbone()
        channels, height, width = map_shape(self.backbone, image_size)
        self.image_size, self.code_dim, self.generator_width = image_size, code_dim, generator_width
        self.identity_backbone = deepcopy(self.backbone)
        self.motion_code = Code(channels * height * width, code_dim)
        self.identity_code = Code(channels * height * width, code_dim)
        self.flow = FlowDecoder(code_dim, generator_width)
        self.generator = Generator(generator_width)
        self.renormalizer = Renormalizer(code_dim, generator_width)

    def encode(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) in [0, 1] of any size that the backbone takes to both maps, flat."""
        return self.backbone(images).flatten(1), self.identity_backbone(images).flatten(1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.encode(images)


@full_precision
def brightness(values: Tensor) -> Tensor:
    """Any values to [0, 1], in float32: the 8 bits of bfloat16 are too few for a picture."""
    return values.sigmoid()


def enlarged(maps: Tensor, like: Tensor) -> Tensor:
    """Maps bilinearly enlarged to the sides of other ones."""
    return nf.interpolate(maps, size=like.shape[2:], mode="bilinear", align_corners=False)
