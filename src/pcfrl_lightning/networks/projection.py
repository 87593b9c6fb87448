"""A backbone with a projector: the encoder of the methods that contrast or predict projections."""

from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from pcfrl_lightning.errors import require
from pcfrl_lightning.networks.encoder import Encoder
from pcfrl_lightning.networks.external import TorchvisionBackbone
from pcfrl_lightning.networks.network import map_shape

Norm = Literal["none", "hidden", "all"]


def mlp(widths: list[int], batch_norm: Norm = "none") -> nn.Sequential:
    """Linear layers of these widths with ReLU between them.

    Args:
        widths: of the input, the hidden layers and the output.
        batch_norm: after no layer, the hidden ones, or all (after the last one without weights, as SimSiam has it).
    """
    require(
        min(widths) >= 1, f"projection_dim, hidden_dim and prediction_dim must be at least 1, got layers of {widths}"
    )
    layers: list[nn.Module] = []
    for number, (inputs, outputs) in enumerate(pairwise(widths), start=2):
        last = number == len(widths)
        norm = batch_norm == "all" or (batch_norm == "hidden" and not last)
        layers.append(nn.Linear(inputs, outputs, bias=not norm))
        if norm:
            layers.append(nn.BatchNorm1d(outputs, affine=not last))
        if not last:
            layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class ProjectionNetwork(Encoder):
    """Backbone, average pooling and a projector; F_s is the pooled feature.

    Args:
        backbone: any module mapping images to ``(B, C, h, w)``; default: an unmodified ResNet-18 of torchvision.
        image_size: side of the images of pretraining, pixels.
        projection_dim: length of z.
        hidden_dim: width of the hidden layers of the projector; default: that of the backbone.
        layers: number of linear layers of the projector.
        batch_norm: batch normalisation in the projector, see ``mlp``.
    """

    feature_names = ("f_s",)

    def __init__(
        self,
        backbone: nn.Module | None = None,
        image_size: int = 64,
        projection_dim: int = 128,
        hidden_dim: int | None = None,
        layers: int = 2,
        batch_norm: Norm = "none",
    ) -> None:
        super().__init__()
        require(projection_dim >= 1, f"projection_dim must be at least 1, got {projection_dim}")
        self.backbone = backbone or TorchvisionBackbone()
        self.image_size, self.projection_dim, self.hidden_dim = image_size, projection_dim, hidden_dim
        self.layers = layers
        self.batch_norm: Norm = batch_norm
        width, *_ = map_shape(self.backbone, image_size)
        self.projector = mlp([width, *[hidden_dim or width] * (layers - 1), projection_dim], batch_norm)

    def encode(self, images: Tensor) -> tuple[Tensor]:
        """(B, 3, H, W) in [0, 1] to F_s (B, C)."""
        return (self.backbone(images).mean(dim=(2, 3)),)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to z (B, projection_dim), not normalised."""
        return self.projector(self.encode(images)[0])
