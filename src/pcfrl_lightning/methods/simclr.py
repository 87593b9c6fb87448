"""SimCLR, plain and with calibrated pairs (Tables 5 and 9)."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from pcfrl_lightning import functional as F
from pcfrl_lightning.heads import CalibratedContrast, Calibrator, CosineOnly, Negatives, NoCalibration, PairTerm
from pcfrl_lightning.heads.contrast import CalibratedMean
from pcfrl_lightning.methods.base import Method, channels_last
from pcfrl_lightning.networks.projection import ProjectionNetwork


class SimCLRNetwork(ProjectionNetwork):
    """The network of SimCLR: a projector of two linear layers as wide as the backbone.

    Args: see ``pcfrl_lightning.networks.projection.ProjectionNetwork``.
    """

    def __init__(self, backbone: nn.Module | None = None, image_size: int = 64, projection_dim: int = 128) -> None:
        super().__init__(backbone, image_size, projection_dim)


class SimCLR(Method):
    """Contrastive learning of two views of each image (Chen et al. 2020).

    With ``NPAThreshold`` or ``CosineThreshold`` as the calibrator it is the SimCLR + NPA or SimCLR + cosine of Tables 5
    and 9; a calibrated partner is then one more positive. Batches hold ``face_1`` and ``face_2``, float (N, 3, S, S).

    Args:
        backbone: any module mapping images to ``(B, C, h, w)``; default: an unmodified ResNet-18 of torchvision.
        calibrator: chooses positives among the other images; default: none are chosen.
        pair_term: the loss of a calibrated pair; default: that of an ordinary positive.
        negatives: what fills the denominator, not mirrored views; default: all views of other images.
        temperature: tau > 0.
        denominator: ``all`` (SimCLR: the positive too) or ``negatives``.
        calibrated_mean: see ``pcfrl_lightning.heads.CalibratedContrast``.
        image_size: side of the square views in pixels.
        projection_dim: length of z.
        compile_network: compile the network with ``torch.compile``; default: on a GPU.
    """

    network: SimCLRNetwork
    views = ("face_1", "face_2")
    calibrators: ClassVar = {"face": "model.calibrator"}

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
        compile_network: bool | None = None,
    ) -> None:
        super().__init__(compile_network)
        self.network = SimCLRNetwork(backbone, image_size, projection_dim)
        pairs = calibrator or NoCalibration(), pair_term or CosineOnly()
        self.contrast = CalibratedContrast(*pairs, temperature, denominator, negatives, calibrated_mean)
        if self.contrast.negatives.needs_mirrored:
            raise ValueError(f"negatives cannot be {type(negatives).__name__}: SimCLR has no mirrored views")
        self.keep_arguments(self.network, self.contrast)

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 6, and Eq. 7 where pairs are calibrated."""
        images = channels_last(torch.cat([batch["face_1"], batch["face_2"]]))
        output = self.contrast(*self.network(images).chunk(2))
        return output.loss + output.calibrated_loss, output.named("face/")
