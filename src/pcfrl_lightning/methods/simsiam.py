"""SimSiam."""

import torch
from torch import Tensor, nn

from pcfrl_lightning import functional as F
from pcfrl_lightning.methods.base import Method, channels_last
from pcfrl_lightning.networks.projection import ProjectionNetwork, mlp


class SimSiam(Method):
    """Each view predicts the other one, without negatives (Chen and He 2021).

    Batches hold ``face_1`` and ``face_2``, float (N, 3, S, S). A ``feature_std`` near 0 in the log means that z
    is the same for every image; ``projection_dim ** -0.5`` is its value for directions that are spread evenly.

    Args:
        backbone: any module mapping images to ``(B, C, h, w)``; default: an unmodified ResNet-18 of torchvision.
        image_size: side of the square views in pixels.
        projection_dim: length of z, and width of the projector.
        prediction_dim: width of the hidden layer of the predictor.
        compile_network: compile the network with ``torch.compile``; default: on a GPU.
    """

    network: ProjectionNetwork
    views = ("face_1", "face_2")

    def __init__(
        self,
        backbone: nn.Module | None = None,
        image_size: int = 64,
        projection_dim: int = 2048,
        prediction_dim: int = 512,
        compile_network: bool | None = None,
    ) -> None:
        super().__init__(compile_network)
        self.network = ProjectionNetwork(backbone, image_size, projection_dim, projection_dim, 3, "all")
        self.prediction_dim = prediction_dim
        self.predictor = mlp([projection_dim, prediction_dim, projection_dim], "hidden")
        self.keep_arguments(self.network)

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Minus the cosine of the prediction and the other view's z, whose gradient is stopped."""
        z = [self.network(channels_last(batch[view])) for view in self.views]
        cosines = [
            nn.functional.cosine_similarity(self.predictor(own).float(), other.detach().float()).mean()
            for own, other in (z, z[::-1])
        ]
        loss = -torch.stack(cosines).mean()
        return loss, {"feature_std": F.feature_std(F.normalize(z[0].detach().float()))}
