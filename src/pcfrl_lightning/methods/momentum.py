"""A network whose weights follow those of another one."""

from copy import deepcopy

import torch
from torch import Tensor, nn


class MomentumCopy(nn.Module):
    """A copy whose weights are the moving average of a network's; it gives no gradient.

    Args:
        network: what to follow.
        momentum: share of the old weights that a step keeps, in [0, 1].
    """

    def __init__(self, network: nn.Module, momentum: float) -> None:
        super().__init__()
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be in [0, 1], got {momentum}")
        self.momentum = momentum
        self.network = deepcopy(network).requires_grad_(False)

    @torch.no_grad()
    def follow(self, network: nn.Module) -> None:
        """One step towards the weights of the network."""
        own = [weight.data for weight in self.network.parameters()]
        torch._foreach_lerp_(own, [weight.data for weight in network.parameters()], 1 - self.momentum)

    @torch.no_grad()
    def forward(self, images: Tensor) -> Tensor:
        """What the network gives, detached."""
        features: Tensor = self.network(images)
        return features
