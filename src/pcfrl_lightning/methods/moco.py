"""MoCo v2, plain and with calibrated pairs."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from pcfrl_lightning.heads import Calibrator, PairTerm, RowContrast
from pcfrl_lightning.heads.queue import FeatureQueue
from pcfrl_lightning.methods.base import channels_last
from pcfrl_lightning.methods.momentum import MomentumCopy, MomentumMethod
from pcfrl_lightning.networks.projection import ProjectionNetwork


class MoCo(MomentumMethod):
    """Momentum contrast with a queue (He et al. 2020, version 2 of Chen et al. 2020).

    The first view of an image is the query, the second one its key, from a network that follows the trained one; the
    negatives are the keys of earlier batches. A calibrated partner is one more positive, out of the queue. Batches hold
    ``face_1`` and ``face_2``, float (N, 3, S, S). Batch statistics are those of all ranks, in place of the shuffling
    between them of the public code.

    Args:
        backbone: any module mapping images to ``(B, C, h, w)``; default: an unmodified ResNet-18 of torchvision.
        calibrator: chooses positives among the rows of the queue; default: none are chosen.
        pair_term: the loss of a calibrated pair; default: that of an ordinary positive.
        temperature: tau > 0.
        momentum: share of the old weights that the key network keeps in a step.
        queue_size: keys that are kept.
        image_size: side of the square views in pixels.
        projection_dim: length of z.
        compile_network: compile the network with ``torch.compile``; default: on a GPU.
    """

    network: ProjectionNetwork
    views = ("face_1", "face_2")
    calibrators: ClassVar = {"face": "model.calibrator"}

    def __init__(
        self,
        backbone: nn.Module | None = None,
        calibrator: Calibrator | None = None,
        pair_term: PairTerm | None = None,
        temperature: float = 0.2,
        momentum: float = 0.999,
        queue_size: int = 65536,
        image_size: int = 64,
        projection_dim: int = 128,
        compile_network: bool | None = None,
    ) -> None:
        super().__init__(compile_network)
        self.network = ProjectionNetwork(backbone, image_size, projection_dim)
        self.momentum_network = MomentumCopy(self.network, momentum)
        self.queue_size = queue_size
        self.queue = FeatureQueue(queue_size, projection_dim)
        self.contrast = RowContrast(calibrator, pair_term, temperature)
        self.keep_arguments(self.network, self.momentum_network, self.contrast)

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """InfoNCE with the queue as negatives, and Eq. 7 where pairs are calibrated."""
        queries = self.network(channels_last(batch["face_1"]))
        keys = self.momentum_network(channels_last(batch["face_2"]))
        others = torch.ones(len(queries), self.queue_size, dtype=torch.bool, device=queries.device)
        output = self.contrast(queries, keys, self.queue.rows, others)
        if self.training:
            self.queue.push(keys)
        return output.loss + output.calibrated_loss, output.named("face/")
