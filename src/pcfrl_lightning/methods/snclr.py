"""SNCLR, plain and with calibrated pairs."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from pcfrl_lightning import functional as F
from pcfrl_lightning.distributed import all_gather
from pcfrl_lightning.heads import Calibrator, PairTerm, RowContrast, named_of_both, other_images
from pcfrl_lightning.heads.queue import FeatureQueue
from pcfrl_lightning.methods.base import channels_last
from pcfrl_lightning.methods.momentum import MomentumCopy, MomentumMethod
from pcfrl_lightning.networks.projection import ProjectionNetwork, mlp


class SNCLR(MomentumMethod):
    """Neighbours in a queue are positives to the degree that the image attends to them (Ge et al. 2023).

    As in the public code: the rows of the softmax are the key of every image, from a network that follows the trained
    one, and the k nearest neighbours of that key; the target of an image is 1 for its key and the attention for the
    neighbours of its key, a softmax of their cosines with z, which has a gradient. The factor ``2 temperature`` of the
    public code is left out. A calibrated partner is one more positive, among the keys of the other images. Batches hold
    ``face_1`` and ``face_2``, float (N, 3, S, S).

    Args:
        backbone: any module mapping images to ``(B, C, h, w)``; default: an unmodified ResNet-18 of torchvision.
        calibrator: chooses positives among the keys of the other images; default: none are chosen.
        pair_term: the loss of a calibrated pair; default: that of an ordinary positive.
        neighbours: k, at least 1.
        temperature: tau > 0.
        momentum: share of the old weights that the key network keeps in a step.
        queue_size: keys that are kept, at least k.
        image_size: side of the square views in pixels.
        projection_dim: length of z.
        hidden_dim: width of the hidden layers of projector and predictor.
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
        neighbours: int = 30,
        temperature: float = 0.2,
        momentum: float = 0.99,
        queue_size: int = 128000,
        image_size: int = 64,
        projection_dim: int = 256,
        hidden_dim: int = 4096,
        compile_network: bool | None = None,
    ) -> None:
        super().__init__(compile_network)
        if not 1 <= neighbours <= queue_size:
            raise ValueError(f"neighbours must be from 1 to queue_size ({queue_size}), got {neighbours}")
        self.network = ProjectionNetwork(backbone, image_size, projection_dim, hidden_dim, 3, "all")
        self.momentum_network = MomentumCopy(self.network, momentum)
        self.predictor = mlp([projection_dim, hidden_dim, projection_dim], "all")
        self.neighbours = neighbours
        self.queue_size = queue_size
        self.queue = FeatureQueue(queue_size, projection_dim)
        self.contrast = RowContrast(calibrator, pair_term, temperature)
        self.keep_arguments(self.network, self.momentum_network, self.contrast)

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross entropy with soft neighbours in both directions, and Eq. 7 where pairs are calibrated."""
        z = [self.network(channels_last(batch[view])) for view in self.views]
        keys = [self.momentum_network(channels_last(batch[view])) for view in self.views]
        soft, outputs = [], []
        for own, key in zip(z, reversed(keys), strict=True):
            prediction, near = self.predictor(own), self.queue.nearest(key, self.neighbours)
            outputs.append(self.contrast(prediction, key, all_gather(key), other_images(key)))
            soft.append(soft_neighbour_loss(prediction, own, key, near, self.contrast.temperature))
        if self.training:
            self.queue.push(keys[1])
        loss, (first, second) = torch.stack(soft).mean(), outputs
        stats = named_of_both(first, second, "face/") | {"face/loss": loss.detach()}
        return loss + (first.calibrated_loss + second.calibrated_loss) / 2, stats


@F.full_precision
def soft_neighbour_loss(
    prediction: Tensor, projection: Tensor, key: Tensor, near: Tensor, temperature: float
) -> Tensor:
    """``-sum_r y_r log softmax_r(cos(p, r) / tau)`` over the keys of all images and their neighbours, mean over images.

    Args:
        prediction: (n, d) p.
        projection: (n, d) z, which attends to the neighbours.
        key: (n, d) of the other view.
        near: (n, k, d) neighbours of the key.
        temperature: tau.
    """
    p, z, positives = F.normalize(prediction), F.normalize(projection), torch.cat([key.unsqueeze(1), near], dim=1)
    positives = nn.functional.normalize(positives, dim=2)
    attention = torch.einsum("nd,nkd->nk", z, positives[:, 1:]).softmax(dim=1)
    logits = p @ all_gather(positives).flatten(0, 1).T / temperature
    own = torch.einsum("nd,nkd->nk", p, positives) / temperature
    log_probability = own - logits.logsumexp(dim=1, keepdim=True)
    return -(log_probability[:, 0] + (attention * log_probability[:, 1:]).sum(dim=1)).mean()
