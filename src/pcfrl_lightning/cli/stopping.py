"""SIGTERM and Ctrl-C in a fit: the run saves where it is, says how to go on, and ends with the status of the signal."""

import os
import signal
import sys
from contextlib import ExitStack
from pathlib import Path
from types import FrameType
from typing import Any

import lightning as L

from pcfrl_lightning.data.sampler import ResumableLoader
from pcfrl_lightning.errors import Stopped, on_signals


class StopAndSave(L.Callback):
    """After SIGTERM or Ctrl-C, ends a fit with the step that is being computed, and saves ``last.ckpt`` first.

    One process stops after its step. Several have to stop after the same one: they ask each other when the loggers
    write (every ``log_every_n_steps`` steps; on the CPU in every step), which is when the host waits for the device
    anyway. A second signal ends the run at once.

    A run without checkpoints saves none, and one whose loader cannot go on inside an epoch (probes) keeps that of its
    last epoch.
    """

    def __init__(self) -> None:
        self.number = 0
        self.steps = 0
        self._signals = ExitStack()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the signals over from Lightning, which ends a run with status 0 and saves nothing."""
        self._signals.enter_context(on_signals(self._note))
        loop = trainer.fit_loop.epoch_loop
        if hasattr(loop, "_broadcast_sigterm_tensor"):  # one broadcast a step, read from the device
            loop._broadcast_sigterm_tensor = lambda: None  # type: ignore[method-assign]

    on_sanity_check_start = on_train_start

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.steps = trainer.global_step

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.global_step == self.steps or not self._asked(trainer):  # gradients of a half step are not saved
            return
        number = self.number or signal.SIGTERM
        path = last_checkpoint(trainer)
        if path and isinstance(trainer.train_dataloader, ResumableLoader):
            trainer.save_checkpoint(path, weights_only=False)
        stopped = Stopped(number, f"after step {trainer.global_step}, in epoch {trainer.current_epoch}")
        if not trainer.is_global_zero:
            stopped.text = ""
            if "TORCHELASTIC_RUN_ID" not in os.environ:
                stopped.code = 0  # Lightning's launcher kills all processes when one that it started ends otherwise
        raise stopped

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._signals.close()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        self._signals.close()

    def _asked(self, trainer: L.Trainer) -> bool:
        if trainer.world_size == 1:
            return bool(self.number)
        every = 1 if trainer.strategy.root_device.type == "cpu" else trainer.log_every_n_steps or 1  # type: ignore[attr-defined]
        if trainer.global_step % every:
            return False
        return bool(trainer.strategy.reduce_boolean_decision(bool(self.number), all=False))

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.number:
            raise Stopped(number, "twice, at once")
        self.number = number
        print(f"pcfrl: {signal.Signals(number).name}: ends after this step", file=sys.stderr, flush=True)


def last_checkpoint(trainer: L.Trainer) -> Path | None:
    """Where a run that writes checkpoints keeps its last one."""
    folders = [getattr(callback, "dirpath", None) for callback in trainer.checkpoint_callbacks]
    return next((Path(folder) / "last.ckpt" for folder in folders if folder), None)


def resuming(arguments: list[str], path: Path) -> list[str]:
    """A command line of ``pcfrl fit`` that goes on with a checkpoint."""
    kept, drop = [], False
    for argument in arguments:
        name, equals, _ = argument.partition("=")
        if not drop and name not in ("--ckpt_path", "--init_from"):
            kept.append(argument)
        drop = not drop and name in ("--ckpt_path", "--init_from") and not equals
    return [*kept, "--ckpt_path", os.path.relpath(path)]
