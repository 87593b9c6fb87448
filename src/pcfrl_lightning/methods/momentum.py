"""Methods with a network whose weights follow those of the trained one."""

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from pcfrl_lightning.methods.base import Method


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
        return self.network(images)


class MomentumMethod(Method):
    """A method with a key network.

    Attributes:
        momentum_network: the key network.
    """

    momentum_network: MomentumCopy

    def compiled_parts(self) -> list[nn.Module]:
        return [self.network, self.momentum_network.network]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """The key network follows, once for each step of the optimiser."""
        if batch_idx % self.trainer.accumulate_grad_batches == 0:
            self.momentum_network.follow(self.network)
