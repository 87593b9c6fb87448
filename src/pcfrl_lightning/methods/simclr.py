"""SimCLR, plain and with calibrated pairs (Tables 5 and 9)."""

import torch
from torch import Tensor, nn

from pcfrl_lightning import functional as F
from pcfrl_lightning.heads import CalibratedContrast, Calibrator, CosineOnly, Negatives, NoCalibration, PairTerm
from pcfrl_lightning.heads.contrast import CalibratedMean
from pcfrl_lightning.methods.base import Method
from pcfrl_lightning.networks import Encoder
from pcfrl_lightning.networks.external import TorchvisionBackbone
from pcfrl_lightning.networks.network import map_shape


class SimCLRNetwork(Encoder):
    """Backbone, average pooling and a projector of two linear layers; F_s is the pooled feature.

    Args:
        backbone: any module mapping images to ``(B, C, h, w)``; default: an unmodified ResNet-18 of torchvision.
        image_size: side of the images of pretraining, pixels.
        projection_dim: length of z.
    """

    feature_names = ("f_s",)

    def __init__(self, backbone: nn.Module | None = None, image_size: int = 64, projection_dim: int = 128) -> None:
        super().__init__()
        if projection_dim < 1:
            raise ValueError(f"projection_dim must be at least 1, got {projection_dim}")
        self.backbone = backbone or TorchvisionBackbone()
        self.image_size = image_size
        self.projection_dim = projection_dim
        width, *_ = map_shape(self.backbone, image_size)
        self.projector = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, projection_dim))

    def encode(self, images: Tensor) -> tuple[Tensor]:
        """(B, 3, H, W) in [0, 1] to F_s (B, C)."""
        return (self.backbone(images).mean(dim=(2, 3)),)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) in [0, 1] to z (B, projection_dim), not normalised."""
        projected: Tensor = self.projector(self.encode(images)[0])
        return projected


class SimCLR(Method):
    """Contrastive learning of two views of each image (Chen et al. 2020).

    With ``NPAThreshold`` or ``CosineThreshold`` as the calibrator it is the SimCLR + NPA or SimCLR + cosine of Tables 5
    and 9; a calibrated partner is then one more positive. Batches hold ``face_1`` and ``face_2``, float (N, 3, S, S).

    Args:
        backbone: any module mapping images to ``(B, C, h, w)``; default: an unmodified ResNet-18 of torchvision.
        calibrator: chooses positives among the other images; default: none are chosen.
        pair_term: the loss of a calibrated pair; default: that of an ordinary positive.
        negatives: what fills the denominator; default: all views of other images.
        temperature: tau > 0.
        denominator: ``all`` (SimCLR: the positive too) or ``negatives``.
        calibrated_mean: see :class:`~pcfrl_lightning.heads.CalibratedContrast`.
        image_size: side of the square views in pixels.
        projection_dim: length of z.
        compile_network: compile the network with ``torch.compile``.

    Raises:
        ValueError: mirrored negatives, which are of the pose.
    """

    network: SimCLRNetwork
    views = ("face_1", "face_2")

    def __init__(
        self,
        backbone: nn.Module | None = None,
        calibrator: Calibrator | None = None,
        pair_term: PairTerm | None = None,
        negatives: Negatives | None = None,
        temperature: float = 0.07,
        denominator: F.Denominator = "all",
        calibrated_mean: CalibratedMean = "anchors",
        image_size: int = 64,
        projection_dim: int = 128,
        compile_network: bool = False,
    ) -> None:
        super().__init__(compile_network)
        self.network = SimCLRNetwork(backbone, image_size, projection_dim)
        self.contrast = CalibratedContrast(
            calibrator or NoCalibration(),
            pair_term or CosineOnly(),
            temperature,
            denominator,
            negatives,
            calibrated_mean,
        )
        if self.contrast.negatives.needs_mirrored:
            raise ValueError(f"negatives cannot be {type(negatives).__name__}: SimCLR has no mirrored views")
        self.keep_arguments(self.network, self.contrast)

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 6, and Eq. 7 where pairs are calibrated."""
        images = torch.cat([batch["face_1"], batch["face_2"]]).contiguous(memory_format=torch.channels_last)
        output = self.contrast(*self.network(images).chunk(2))
        return output.loss + output.calibrated_loss, output.named("face/")

    def end_epoch(self, means: dict[str, Tensor]) -> None:
        """Warn of a threshold that lets nearly every anchor through."""
        self.warn_of_many_pairs(means, {"face": "model.calibrator"})
