"""SwAV."""

from typing import Any

import torch
from torch import Tensor, nn

from pcfrl_lightning import functional as F
from pcfrl_lightning.errors import require
from pcfrl_lightning.methods.base import Method, channels_last
from pcfrl_lightning.networks.projection import ProjectionNetwork


class SwAV(Method):
    """Each view predicts the prototypes of the other one (Caron et al. 2020), with two views of one size.

    Batches hold ``face_1`` and ``face_2``, float (N, 3, S, S). The codes use all prototypes equally, so a global batch
    should not be much smaller than their number.

    Args:
        backbone: any module mapping images to ``(B, C, h, w)``; default: an unmodified ResNet-18 of torchvision.
        prototypes: their number, at least 2.
        temperature: tau > 0 of the predictions.
        epsilon: smoothness of the codes, > 0.
        sinkhorn_iterations: of the codes, at least 1.
        freeze_epochs: first epochs, in which the prototypes stay as they are.
        image_size: side of the square views in pixels.
        projection_dim: length of z.
        hidden_dim: width of the hidden layer of the projector.
        compile_network: compile the network with ``torch.compile``; default: on a GPU.
    """

    network: ProjectionNetwork
    views = ("face_1", "face_2")

    def __init__(
        self,
        backbone: nn.Module | None = None,
        prototypes: int = 3000,
        temperature: float = 0.1,
        epsilon: float = 0.05,
        sinkhorn_iterations: int = 3,
        freeze_epochs: int = 1,
        image_size: int = 64,
        projection_dim: int = 128,
        hidden_dim: int = 2048,
        compile_network: bool | None = None,
    ) -> None:
        super().__init__(compile_network)
        require(
            temperature > 0 and epsilon > 0 and prototypes > 1 and sinkhorn_iterations > 0,
            "SwAV needs temperature > 0, epsilon > 0, at least 2 prototypes and sinkhorn_iterations >= 1, "
            f"got {temperature}, {epsilon}, {prototypes} and {sinkhorn_iterations}",
        )
        self.network = ProjectionNetwork(backbone, image_size, projection_dim, hidden_dim, 2, "hidden")
        self.prototypes, self.temperature, self.epsilon = prototypes, temperature, epsilon
        self.sinkhorn_iterations, self.freeze_epochs = sinkhorn_iterations, freeze_epochs
        self.directions = nn.Parameter(nn.functional.normalize(torch.randn(prototypes, projection_dim)))
        self.keep_arguments(self.network)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """The prototypes are unit vectors again."""
        with torch.no_grad():
            self.directions.copy_(F.normalize(self.directions))

    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Cross entropy of each view's prediction with the code of the other view."""
        z = [self.network(channels_last(batch[view])) for view in self.views]
        loss, used = swapped_prediction(
            z[0], z[1], self.directions, self.temperature, self.epsilon, self.sinkhorn_iterations
        )
        return loss, {"feature_std": F.feature_std(F.normalize(z[0].detach())), "prototypes_used": used}

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """No step of the prototypes in the first epochs."""
        if self.current_epoch < self.freeze_epochs:
            self.directions.grad = None


@F.full_precision
def swapped_prediction(
    first: Tensor, second: Tensor, directions: Tensor, temperature: float, epsilon: float, iterations: int
) -> tuple[Tensor, Tensor]:
    """Mean cross entropy of each view's prediction with the code of the other one (Eq. 2), for two views (n, d).

    Also the number of prototypes that the codes of this rank use (their perplexity), without gradient.
    """
    scores = [F.normalize(view) @ directions.T for view in (first, second)]
    codes = [F.sinkhorn_codes(score, epsilon, iterations) for score in scores]
    terms = [
        nn.functional.cross_entropy(score / temperature, code)
        for score, code in zip(scores, reversed(codes), strict=True)
    ]
    share = torch.cat(codes).mean(dim=0)
    return torch.stack(terms).mean(), torch.special.entr(share).sum().exp()
