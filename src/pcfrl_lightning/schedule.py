"""Optimiser plumbing shared by the modules and the command line."""

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.optim import Optimizer


def scheduled(module: L.LightningModule, optimizer: Optimizer) -> OptimizerLRScheduler:
    """Add cosine annealing, stepped once per epoch over the run's ``max_epochs`` (paper 4.1).

    A run bounded by steps or time only (``max_epochs: -1``) keeps the learning rate constant.
    """
    epochs = module.trainer.max_epochs
    if epochs is None or epochs < 1:
        return optimizer
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "epoch"}}
