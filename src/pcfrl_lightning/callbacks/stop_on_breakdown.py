"""The end of a run that cannot recover."""

import os
from collections import deque
from contextlib import suppress
from typing import Any, cast

import lightning as L
import torch
from torch import Tensor

from pcfrl_lightning.errors import UsageError, require
from pcfrl_lightning.host_copy import HostCopy
from pcfrl_lightning.run_directory import newest_checkpoint, run_directory

KEPT = "last_good.ckpt"


class StopOnBreakdown(L.Callback):
    """Stops a run whose loss or weights are no longer finite, or whose features have collapsed to one point.

    The message names the first bad step and the last good checkpoint; the images of that step are listed in
    ``broken_step_<n>.txt`` in the folder of the run (``_rank<r>`` for the other processes). No checkpoint is written
    with weights that are not finite. When features look collapsed for the first time, ``last.ckpt`` is kept as
    ``last_good.ckpt`` until they recover.

    It looks at the steps that are logged (``log_every_n_steps``) and at checkpoints. On a GPU it sees at a logged step
    what the device had computed at the logged step before, so that no step waits.

    Args:
        min_std: features have collapsed where the logged ``feature_std`` (of normalised projections, mean over their
            dimensions; 1 / sqrt(dimensions) where they are spread evenly) is below it; 0: never.
        steps: for so many steps in a row, at least 1.
    """

    def __init__(self, min_std: float = 1e-3, steps: int = 500) -> None:
        require(min_std >= 0 and steps >= 1, f"need min_std >= 0 and steps >= 1, got {min_std} and {steps}")
        self.min_std, self.steps = min_std, steps
        self.first = torch.tensor(-1)  # first step with a loss that is not finite; on the device
        self.low: int | None = None  # first step of those in a row with a low deviation
        self.recent: deque[tuple[int, Tensor | None]] = deque(maxlen=1)
        self.seen: HostCopy | None = None  # ``first`` at the logged step before

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.first, self.low = torch.full((), -1, device=pl_module.device), None
        self.recent = deque(maxlen=3 * max(1, _every(trainer) * trainer.accumulate_grad_batches))
        self.seen = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note a bad loss on the device; look at it, and at the deviation of the features, when the loggers write.

        Raises:
            UsageError: the run has broken down.
        """
        step = trainer.global_step
        self.recent.append((step, getattr(trainer.datamodule, "trained_on", None)))  # type: ignore[attr-defined]
        if isinstance(outputs, dict):  # else the module left the step out
            self.first = self.first.masked_fill(~outputs["loss"].isfinite() & (self.first < 0), step)
        if step % _every(trainer):
            return
        before, self.seen = self.seen, HostCopy(self.first)
        if now := self.seen if self.seen.at_once else before:
            self._check_loss(trainer, now.read())
        logged = trainer.callback_metrics.items()  # values of steps are on the CPU
        stds = [cast(float, value.tolist()) for name, value in logged if name.endswith("feature_std_step")]
        if not stds or min(stds) >= self.min_std:
            self.low = None
            self._keep(trainer, keep=False)
            return
        if self.low is None:
            self.low = step
            self._keep(trainer, keep=True)
        if step - self.low >= self.steps:
            images = self._images(trainer, step)
            raise UsageError(
                f"the features have collapsed: their standard deviation is {min(stds):.1e} in step {step}, and below "
                f"{self.min_std:g} since step {self.low}{images}; {last_good(trainer)}; lower optimizer.lr, or raise "
                "the batch size"
            )

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep a broken state from replacing the checkpoint before it.

        Raises:
            UsageError: a loss or a weight is not finite.
        """
        self._check_loss(trainer, self.first)
        finite = [weight.isfinite().all() for weight in pl_module.parameters()]
        if finite and not torch.stack(finite).all():
            step = trainer.global_step
            raise UsageError(
                f"weights are not finite after step {step}{self._images(trainer, step)}; {last_good(trainer)}; lower "
                "optimizer.lr, or set trainer.gradient_clip_val"
            )

    def _check_loss(self, trainer: L.Trainer, first: Tensor) -> None:
        step = cast(int, first.tolist())
        if step >= 0:
            raise UsageError(
                f"the loss is not finite since step {step} (now {trainer.global_step}, epoch {trainer.current_epoch})"
                f"{self._images(trainer, step)}; {last_good(trainer)}; lower optimizer.lr, or set "
                "trainer.gradient_clip_val"
            )

    def _images(self, trainer: L.Trainer, step: int) -> str:
        """Which images a step of this process saw, as the end of a sentence; all of them in a file."""
        keys = [key for number, key in self.recent if number == step and key is not None]
        if not keys:
            return ""
        source = trainer.datamodule.readable("train").source  # type: ignore[attr-defined]
        names = [source.name(int(row)) for row in torch.cat(keys)[:, 1]]
        rank = f"_rank{trainer.global_rank}" if trainer.global_rank else ""
        path = run_directory(trainer) / f"broken_step_{step}{rank}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8", errors="surrogateescape")
        return f", on {', '.join(names[:3])} and {len(names[3:])} more images, see {path}"

    def _keep(self, trainer: L.Trainer, keep: bool) -> None:
        path = newest_checkpoint(trainer)
        if path and trainer.is_global_zero:
            kept = path.with_name(KEPT)
            with suppress(OSError):  # file systems without links
                kept.unlink(missing_ok=True)
                if keep:
                    os.link(path, kept)


def last_good(trainer: L.Trainer) -> str:
    """Where to go on from."""
    path = newest_checkpoint(trainer)
    if path is None:
        return "there is no checkpoint yet"
    kept = path.with_name(KEPT)
    return f"the last good checkpoint is {kept if kept.is_file() else path}"


def _every(trainer: L.Trainer) -> int:
    return trainer.log_every_n_steps or 1  # type: ignore[attr-defined]
