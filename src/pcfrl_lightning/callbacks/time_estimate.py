"""What a run will cost, said once after its first steps."""

import math
import time
from collections.abc import Mapping
from typing import Any

import lightning as L

from pcfrl_lightning.data.prepare.progress import duration

DAY = 86400.0
CPU_CONFIG = "configs/experiment/cpu.yaml"


class TimeEstimate(L.Callback):
    """Prints one line once: images per second, time for an epoch, and time for what is left of the run.

    Measured on the process that prints, by its clock alone, from the end of the first step that it takes (which starts
    workers and tunes kernels) to the end of the first one at least ``seconds`` later. A GPU works behind the
    host, but soon not further than its queue is long. Validation and the writing of checkpoints are not in it.

    Args:
        seconds: that are measured.
        least: a run that has less than this left, in seconds, needs no estimate.
    """

    def __init__(self, seconds: float = 10.0, least: float = 60.0) -> None:
        self.seconds, self.least = seconds, least
        self.begun: float | None = None
        self.batches = self.images = 0
        self.told = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Forget another run of this trainer; a resumed one measures anew."""
        self.begun, self.batches, self.images = None, 0, 0
        self.told = not trainer.is_global_zero or bool(trainer.fast_dev_run)  # type: ignore[attr-defined]

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.told:
            return
        now = time.perf_counter()
        if self.begun is None:
            self.begun = now
            return
        self.batches += 1
        self.images += len(next(iter(batch.values()))) * trainer.world_size if isinstance(batch, Mapping) else 0
        if now - self.begun < self.seconds:
            return
        self.told = True
        line = describe(trainer, (now - self.begun) / self.batches, self.images / (now - self.begun), self.least)
        if line:
            bar = trainer.progress_bar_callback
            (bar.print if bar else print)(line)


def describe(trainer: L.Trainer, seconds: float, speed: float, least: float = 0.0) -> str:
    """The line for a run whose batches take ``seconds`` each; empty where less than ``least`` seconds are left."""
    an_epoch, left = float(trainer.num_training_batches), batches_left(trainer)
    if left * seconds < least:
        return ""
    parts = [f"{speed:.0f} images/s" if speed >= 10 else f"{speed:.1f} images/s"] if speed else []
    if math.isfinite(an_epoch):
        parts.append(f"{duration(an_epoch * seconds)} an epoch")
    if math.isfinite(left):
        epochs = f"for the {round(left / an_epoch, 1):g} epochs that are left"
        parts.append(f"{duration(left * seconds)} {epochs if math.isfinite(an_epoch) else 'until its end'}")
    text = f"time:       {', '.join(parts)} (training alone)"
    slow = trainer.strategy.root_device.type == "cpu" and DAY < left * seconds < math.inf
    return f"{text}; a run for a CPU: --config {CPU_CONFIG} after the others" if slow else text


def batches_left(trainer: L.Trainer) -> float:
    """Batches until the run ends, those before a resume not counted; inf where its end is not known."""
    loop = trainer.fit_loop
    ends = []
    if (epochs := trainer.max_epochs) is not None and epochs >= 0:
        done = loop.epoch_loop.batch_progress.current.ready
        ends.append((epochs - trainer.current_epoch) * float(trainer.num_training_batches) - done)
    if trainer.max_steps >= 0:
        steps = (trainer.max_steps - trainer.global_step) / getattr(trainer.lightning_module, "optimizer_steps", 1)
        ends.append(steps * trainer.accumulate_grad_batches)
    return max(min(ends, default=math.inf), 0.0)
