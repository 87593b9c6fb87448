"""What a training step costs (Table 10)."""

import time
from contextlib import ExitStack
from statistics import median
from typing import Any

import lightning as L
import torch
from torch.utils.flop_counter import FlopCounterMode


class StepCost(L.Callback):
    """Logs at the end of an epoch the time, the operations and the parameters of a training step.

    ``cost/step_seconds``: median of the steps after the third, optimizer included, loading excluded;
    ``cost/gflops_per_image`` and ``cost/gmacs_per_image``: 10^9 floating-point operations, and multiply-adds (half of
    them), of the matrix products and convolutions of forward and backward, counted by PyTorch in the second step, by
    image of a batch, which the network sees in several views; ``cost/million_parameters``: trained ones.

    It waits for the device before and after every step: for runs that are about cost alone.
    """

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.flops = 0.0
        self._steps = 0  # in this process: a resumed run does not begin with batch 0
        self._started = 0.0
        self._counting = ExitStack()

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._steps == 1:
            self._counter = self._counting.enter_context(FlopCounterMode(display=False))
        self._started = _now(pl_module.device)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._steps > 2:
            self.seconds.append(_now(pl_module.device) - self._started)
        if self._steps == 1:
            self._counting.close()
            self.flops = self._counter.get_total_flops() / len(next(iter(batch.values())))
        self._steps += 1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log the figures; nothing for an epoch of fewer than four steps."""
        if not self.seconds:
            return
        parameters = sum(each.numel() for each in pl_module.parameters() if each.requires_grad)
        figures = {"gflops_per_image": self.flops / 1e9, "gmacs_per_image": self.flops / 2e9}
        figures |= {"step_seconds": median(self.seconds), "million_parameters": parameters / 1e6}
        self.seconds = []
        for name, value in figures.items():
            pl_module.log(f"cost/{name}", value, rank_zero_only=True)

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Leave PyTorch as it was."""
        self._counting.close()


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
