"""Statistics of logged steps."""

import lightning as L
import torch
from torch import Tensor

from pcfrl_lightning.host_copy import HostCopy, write_row


class StepLog:
    """Hands statistics of logged steps to the loggers, each under the number of its own step.

    On a GPU those of a step are handed over at the next logged step or at the end of the epoch, when the device has
    long computed them; on the CPU at once. Lightning's ``log_dict`` reads each value from the device by itself, which
    waits as often as there are values.
    """

    def __init__(self) -> None:
        self._waiting: tuple[int, int, list[str], HostCopy] | None = None

    def put(self, trainer: L.Trainer, values: dict[str, Tensor]) -> None:
        """Take the values, scalars on one device, of the present step, and hand over those of the step before."""
        self.flush(trainer)
        step: int = trainer.fit_loop.epoch_loop._batches_that_stepped
        copy = HostCopy(torch.stack([value.float() for value in values.values()]))
        self._waiting = step, trainer.current_epoch, list(values), copy
        if copy.at_once:
            self.flush(trainer)

    def flush(self, trainer: L.Trainer) -> None:
        """Hand over what waits, and the loss to the progress bar."""
        if self._waiting is None:
            return
        (step, epoch, names, copy), self._waiting = self._waiting, None
        numbers = dict(zip(names, copy.read().tolist(), strict=True))
        trainer.progress_bar_metrics["loss"] = numbers["loss"]
        write_row(trainer, {f"train/{name}_step": value for name, value in numbers.items()}, step, epoch)
