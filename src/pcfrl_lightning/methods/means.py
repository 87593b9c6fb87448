"""Means over the steps of an epoch and over ranks."""

import torch
from torch import Tensor
from torchmetrics import Metric


class EpochMeans(Metric):
    """Running means of a vector of step values, summed over ranks by torchmetrics when they are computed.

    The sums stay on the device, in float64, in which they do not depend on the order of steps and ranks: after a resume
    it is another one. Nothing is read before the epoch ends. They are no buffers, which DDP would overwrite
    with those of rank 0; ``pcfrl_lightning.methods.base.Method`` puts their global values into checkpoints.
    """

    full_state_update = False
    total: Tensor
    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("steps", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, values: Tensor) -> None:
        """Add the values (K,) of one step of this rank; K is the same in every step."""
        self.total = self.total + values.detach().to(_exact(values.device))
        self.steps = self.steps + 1

    def compute(self) -> Tensor:
        """(K,) means over all steps of all ranks since the last reset."""
        return (self.total / self.steps.clamp(min=1)).float()

    def global_sums(self) -> dict[str, Tensor]:
        """Sums over all ranks, for a checkpoint; every rank has to call this."""
        with self.sync_context():
            return {"total": self.total.cpu(), "steps": self.steps.cpu()}

    def restore(self, sums: dict[str, Tensor], holder: bool) -> None:
        """Continue from ``global_sums``; one rank, the ``holder``, keeps the sums, the others begin at zero."""
        for name, value in sums.items():
            kept = value if holder else torch.zeros_like(value)
            setattr(self, name, kept.to(self.device, _exact(self.device)))
        self._update_count = 1  # an epoch that was saved after its last step has sums, but no update in this process


def _exact(device: torch.device) -> torch.dtype:
    return torch.float32 if device.type == "mps" else torch.float64  # MPS has no float64
