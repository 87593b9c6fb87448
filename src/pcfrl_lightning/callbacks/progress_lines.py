"""Progress in a log: a line for an epoch, where a bar would be repeated again and again."""

import sys
import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar, TQDMProgressBar

from pcfrl_lightning.data.prepare.progress import duration

BARS = (TQDMProgressBar, RichProgressBar)


class ProgressLines(ProgressBar):
    """Prints ``epoch 3 of 14: loss 21.3; 5 min left`` after an epoch, at most one line in ``seconds``, and the last.

    Args:
        seconds: between two lines, of epochs that are shorter.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        super().__init__()
        self.seconds, self.enabled = seconds, True
        self.begun = self.printed = 0.0
        self.epochs = 0

    def disable(self) -> None:
        self.enabled = False

    def enable(self) -> None:
        self.enabled = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock; epochs before a resume do not count for it."""
        self.begun = self.printed = time.perf_counter()
        self.epochs = 0

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        now, done, last = time.perf_counter(), trainer.current_epoch + 1, trainer.max_epochs or -1
        self.epochs += 1
        if not self.enabled or (now - self.printed < self.seconds and done != last and not trainer.should_stop):
            return
        self.printed = now
        metrics: dict[str, Any] = dict(self.get_metrics(trainer, pl_module))
        losses = [metrics[name] for name in ("train/loss", "train/loss_epoch", "loss") if name in metrics]
        shown = [f"loss {float(losses[0]):.4g}"] if losses else []
        left = (last - done) * (now - self.begun) / self.epochs
        shown += [f"{duration(left)} left"] if left > 0 else []
        print(f"epoch {done}{f' of {last}' if last > 0 else ''}: {'; '.join(shown) or 'done'}", flush=True)


def lines_in_a_log(trainer: Any) -> None:
    """Put `ProgressLines` in the place of Lightning's bar where standard error is no terminal."""
    bar = trainer.progress_bar_callback
    if type(bar) in BARS and not sys.stderr.isatty():
        trainer.callbacks[trainer.callbacks.index(bar)] = ProgressLines()
