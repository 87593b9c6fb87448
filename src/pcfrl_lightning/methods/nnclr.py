"""NNCLR, plain and with calibrated pairs."""

from typing import ClassVar

from torch import Tensor, nn

from pcfrl_lightning.distributed import all_gather
from pcfrl_lightning.heads import Calibrator, ContrastOutput, PairTerm, RowContrast, named_of_both, other_images
from pcfrl_lightning.heads.queue import FeatureQueue
from pcfrl_lightning.methods.base import Method, channels_last
from pcfrl_lightning.networks.projection import ProjectionNetwork, mlp


class NNCLR(Method):
    """The nearest neighbour of one view in a queue is the positive of the other view (Dwibedi et al. 2021, Eq. 4).

    A calibrated partner is one more positive, among the predictions of the other images. Batches hold ``face_1`` and
    ``face_2``, float (N, 3, S, S).

    Args:
        backbone: any module mapping images to ``(B, C, h, w)``; default: an unmodified ResNet-18 of torchvision.
        calibrator: chooses positives among the other images of the batch; default: none are chosen.
        pair_term: the loss of a calibrated pair; default: that of an ordinary positive.
        temperature: tau > 0.
        queue_size: features that are kept as possible neighbours.
        image_size: side of the square views in pixels.
        projection_dim: length of z.
        hidden_dim: width of the hidden layers of the projector.
        prediction_dim: width of the hidden layer of the predictor.
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
        temperature: float = 0.1,
        queue_size: int = 98304,
        image_size: int = 64,
        projection_dim: int = 256,
        hidden_dim: int = 2048,
        prediction_dim: int = 4096,
        compile_network: bool | None = None,
    ) -> None:
        super().__init__(compile_network)
        self.network = ProjectionNetwork(backbone, image_size, projection_dim, hidden_dim, 3, "all")
        self.prediction_dim = prediction_dim
        self.predictor = mlp([projection_dim, prediction_dim, projection_dim], "hidden")
        self.queue_size = queue_size
        self.queue = FeatureQueue(queue_size, projection_dim)
        self.contrast = RowContrast(calibrator, pair_term, temperature)
        self.keep_arguments(self.network, self.contrast)

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """InfoNCE of neighbours and predictions in both directions, and Eq. 7 where pairs are calibrated."""
        z = [self.network(channels_last(batch[view])) for view in self.views]
        neighbours = [self.queue.nearest(rows)[:, 0] for rows in z]
        first = self.directed(neighbours[0], self.predictor(z[1]))
        second = self.directed(neighbours[1], self.predictor(z[0]))
        if self.training:
            self.queue.push(z[0])
        loss = (first.loss + first.calibrated_loss + second.loss + second.calibrated_loss) / 2
        return loss, named_of_both(first, second, "face/")

    def directed(self, neighbours: Tensor, predictions: Tensor) -> ContrastOutput:
        """The neighbours (n, d) of this rank against the predictions of all ranks."""
        return self.contrast(neighbours, predictions, all_gather(predictions), other_images(predictions))
