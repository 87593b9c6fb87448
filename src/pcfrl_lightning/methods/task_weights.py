"""Weights of the two contrastive tasks in Eq. 8."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from pcfrl_lightning.errors import require
from pcfrl_lightning.functional import dwa_ratios, dwa_weights
from pcfrl_lightning.methods.means import EpochMeans

TASKS = ("face", "pose")


class TaskWeights(nn.Module, ABC):
    """Gives ``weights`` ``(2,)`` in the order (face, pose); may learn them from the epoch means of the losses."""

    weights: Tensor

    def observe(self, losses: Tensor) -> None:
        """Take note of one step's unweighted task losses ``(2,)``."""

    @abstractmethod
    def end_epoch(self) -> Tensor:
        """Close an epoch on all ranks; returns ``(2,)`` bool: where a bound had to act."""


class FixedWeights(TaskWeights):
    """Constant weights.

    Args:
        face: ``alpha_face`` of Eq. 8, at least 0.
        pose: ``alpha_pose`` of Eq. 8, at least 0.
    """

    def __init__(self, face: float = 1.0, pose: float = 1.0) -> None:
        super().__init__()
        require(face >= 0 and pose >= 0, f"face and pose must be at least 0, got face={face}, pose={pose}")
        self.face, self.pose = face, pose
        self.register_buffer("weights", torch.tensor([face, pose]))

    def end_epoch(self) -> Tensor:
        return torch.zeros_like(self.weights, dtype=torch.bool)


class DWA(TaskWeights):
    """Dynamic weight average (Liu et al. 2019; Eq. 8): weights follow how fast each task's loss falls.

    Weights and epoch means are buffers, equal on all ranks and part of the checkpoint: a resumed run continues with the
    same weights. The first two epochs use weight 1.

    Args:
        temperature: softness of the weighting, above 0 (paper: 2).
    """

    history: Tensor
    epochs: Tensor

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        require(temperature > 0, f"temperature must be above 0, got {temperature}")
        self.temperature = temperature
        self.means = EpochMeans()
        self.register_buffer("weights", torch.ones(len(TASKS)))
        self.register_buffer("history", torch.zeros(2, len(TASKS)))  # epoch means: t - 2, t - 1
        self.register_buffer("epochs", torch.zeros((), dtype=torch.long))

    def observe(self, losses: Tensor) -> None:
        self.means.update(losses)

    def end_epoch(self) -> Tensor:
        mean = self.means.compute()
        self.means.reset()
        self.history.copy_(torch.stack([self.history[1], mean]))
        self.epochs += 1
        if int(self.epochs) < 2:
            return torch.zeros_like(mean, dtype=torch.bool)
        before_previous, previous = self.history
        self.weights.copy_(dwa_weights(previous, before_previous, self.temperature))
        return dwa_ratios(previous, before_previous)[1]
