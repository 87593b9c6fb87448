"""Training speed in the log."""

import time
from typing import Any

import lightning as L

from pcfrl_lightning.host_copy import write_row


class Throughput(L.Callback):
    """Logs ``train/images_per_second`` (all ranks together) and ``train/images_seen`` once an epoch, and
    ``train/images_per_second_step`` over the last ``log_every_n_steps`` steps.

    Wall-clock time between steps, so that it never waits for the device; on a GPU the speed of few steps is therefore a
    rough one.
    """

    def __init__(self) -> None:
        self.started = self.last_time = 0.0
        self.images = self.last_images = 0
        self.images_seen = 0

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock; a run that is resumed inside an epoch does not start that epoch."""
        self.started = self.last_time = time.perf_counter()
        self.images = self.last_images = 0

    on_train_epoch_start = on_train_start

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the images of the batch on all ranks; log the speed now and then."""
        images = len(next(iter(batch.values()))) * trainer.world_size
        self.images += images
        self.images_seen += images
        # when the loggers write, which count a batch once however many steps it takes, and several of one step once
        if trainer._logger_connector.should_update_logs and not trainer.fit_loop._should_accumulate():
            now = time.perf_counter()
            speed = (self.images - self.last_images) / (now - self.last_time)
            write_row(trainer, {"train/images_per_second_step": speed})
            self.last_time, self.last_images = now, self.images

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        seconds = time.perf_counter() - self.started
        pl_module.log("train/images_per_second", self.images / seconds, rank_zero_only=True)
        pl_module.log("train/images_seen", float(self.images_seen), rank_zero_only=True)

    def state_dict(self) -> dict[str, int]:
        return {"images_seen": self.images_seen}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.images_seen = state_dict["images_seen"]
