"""Optimiser plumbing shared by the modules and the command line."""

import math
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.optim import Optimizer

from pcfrl_lightning.errors import UsageError

_COMPARED = {"class": "class", "initial_lr": "lr", "weight_decay": "weight_decay"}
"""Settings of an optimiser that a checkpoint would replace, and what a user calls them."""


def scheduled(module: L.LightningModule, optimizer: Optimizer) -> OptimizerLRScheduler:
    """Add cosine annealing, stepped once per epoch over the run's ``max_epochs`` (paper 4.1).

    A run bounded by steps or time only (``max_epochs: -1``) keeps the learning rate constant.
    """
    epochs = module.trainer.max_epochs
    if epochs is None or epochs < 1:
        return optimizer
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}


def refuse_another(optimizer: Optimizer) -> None:
    """Let an optimiser, whose schedule has been made, take only the state of one like it, which a checkpoint describes.

    PyTorch would silently go on with another rate or decay, or another class, or fail in the first step. A schedule may
    change rates and momenta, so that the first rate is what counts, and momenta are not looked at.
    """
    for group in optimizer.param_groups:
        group["class"] = type(optimizer).__name__
        group.setdefault("initial_lr", group.get("lr"))
    optimizer.register_load_state_dict_pre_hook(_check)


def _check(optimizer: Optimizer, state: dict[str, Any]) -> None:
    for here, there in zip(optimizer.param_groups, state["param_groups"], strict=False):
        differing = [
            f"{name} {there[key]}, not {here[key]}"
            for key, name in _COMPARED.items()
            if key in here and key in there and here[key] != there[key]  # checkpoints of earlier versions lack some
        ]
        if differing:
            raise UsageError(
                f"the optimizer of the checkpoint has {', '.join(differing)}: give what its run had (--optimizer, "
                "--lr_scheduler), or begin a new run with its weights, --init_from in place of --ckpt_path"
            )


def fuse(optimizer: Optimizer) -> None:
    """Let an optimiser that has taken no step update all weights in one kernel.

    Others than Adam, AdamW and SGD, and those that were given `fused` or `foreach`, stay as they are.
    """
    if not isinstance(optimizer, torch.optim.Adam | torch.optim.AdamW | torch.optim.SGD):
        return
    for group in optimizer.param_groups:
        if group.get("fused", False) is None and group.get("foreach") is None:
            group["fused"] = True


class LateCosine(torch.optim.lr_scheduler.LambdaLR):
    """A constant learning rate, then a half cosine towards 0 that need not come to its end.

    ``lr(e) = lr (1 + cos(pi (e - start) / period)) / 2`` from epoch ``start`` on. The public code behind Table 9 takes
    the batches of an epoch as the period, in epochs: after 100 epochs its rate is still 0.56 (CIFAR-10) or 0.87
    (STL-10) of the first one (docs/table9.md).

    Args:
        optimizer: whose rate is changed.
        start: last epoch of the full rate, at least 0.
        period: epochs from there to a rate of 0, at least 1.
    """

    def __init__(self, optimizer: Optimizer, start: int, period: int) -> None:
        if start < 0 or period < 1:
            raise ValueError(f"LateCosine needs start >= 0 and period >= 1, got {start} and {period}")
        self.start, self.period = start, period
        super().__init__(optimizer, self.share)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on; UsageError for the state of another schedule, whose settings would silently replace these."""
        there, here = [state_dict.get(key) for key in ("start", "period")], [self.start, self.period]
        if there != here:
            raise UsageError(
                f"the checkpoint's LateCosine has start and period {there}, not {here}: set lr_scheduler.start and "
                "lr_scheduler.period to these, or begin a new run with its weights, --init_from in place of --ckpt_path"
            )
        super().load_state_dict(state_dict)

    def share(self, epoch: int) -> float:
        """Of the first rate, in an epoch counted from 0."""
        return (1 + math.cos(math.pi * min(max(epoch - self.start, 0), self.period) / self.period)) / 2
