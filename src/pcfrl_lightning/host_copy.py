"""Values on their way from the device to the host, and to the loggers, without a wait."""

from collections.abc import Mapping

import lightning as L
import torch
from torch import Tensor


class HostCopy:
    """A copy of a tensor in the memory of the host, which the device makes when it gets there.

    Nothing waits until it is read, which another thread may do. On the CPU it is the tensor itself.
    """

    def __init__(self, values: Tensor) -> None:
        values = values.detach()
        self.arrival: torch.cuda.Event | None = None
        if values.is_cuda:
            # a copy to memory that is not pinned would wait
            self.values = torch.empty(values.shape, dtype=values.dtype, device="cpu", pin_memory=True)
            self.values.copy_(values, non_blocking=True)
            self.arrival = torch.cuda.Event()
            self.arrival.record()
        else:
            self.values = values

    @property
    def at_once(self) -> bool:
        """Whether the values were on the CPU."""
        return self.arrival is None

    def read(self) -> Tensor:
        """The values; waits for the device where it has not got there."""
        if self.arrival is not None:
            self.arrival.synchronize()
        return self.values


def write_row(trainer: L.Trainer, row: Mapping[str, float], step: int | None = None, epoch: int | None = None) -> None:
    """Give numbers of a step (default: the present one) to the loggers and to ``trainer.callback_metrics``.

    `LightningModule.log` would copy each number to the device and back again, and wait for that.
    """
    present: int = trainer.fit_loop.epoch_loop._batches_that_stepped
    trainer.callback_metrics.update({name: torch.full((), value, device="cpu") for name, value in row.items()})
    for logger in trainer.loggers:
        told = {**row, "epoch": trainer.current_epoch if epoch is None else epoch}
        logger.log_metrics(told, present if step is None else step)
        logger.save()
