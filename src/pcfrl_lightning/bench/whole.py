"""``pcfrl fit`` with data, in one process: images made into views by the loader, optimiser, logging."""

import time
import warnings
from typing import Any

import lightning as L
import numpy as np
import torch

from pcfrl_lightning.data import ArraySource, AutoViews, FaceData, FaceSet


class Rendered(FaceData):
    """Images that are in memory already."""

    name = "rendered"

    def __init__(self, images: list[np.ndarray], batch_size: int, workers: int) -> None:
        size = images[0].shape[0]
        super().__init__(root=".", views=AutoViews(), image_size=size, batch_size=batch_size, num_workers=workers)
        self.pixels = np.stack(images)

    def build(self) -> dict[str, FaceSet]:
        source = ArraySource(self.pixels, [str(number) for number in range(len(self.pixels))])
        return {"train": FaceSet(source, {}, name="train")}


class Clock(L.Callback):
    """Images per second from the end of the ``first`` step to the end of the run."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.begun = self.rate = 0.0
        self.images = 0

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        """Start after the first steps, then count."""
        if self.begun:
            self.images += len(args[1]["source"])
        elif trainer.global_step >= self.first:
            self.begun = _now(pl_module.device)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop."""
        self.rate = self.images / (_now(pl_module.device) - self.begun)


def fit_rate(
    module: L.LightningModule, faces: list[np.ndarray], batch_size: int, steps: int, first: int, **trainer: Any
) -> float:
    """Images per second of a run of ``first`` + ``steps`` batches, those after ``first`` counted."""
    clock = Clock(first)
    repeated = [faces[number % len(faces)] for number in range((first + steps) * batch_size)]
    cuda = trainer["accelerator"] == "gpu"
    data = Rendered(repeated, batch_size, workers=min(14, torch.get_num_threads()) if cuda else 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a loader without workers
        L.Trainer(**trainer, callbacks=[clock], max_epochs=1).fit(module, data)
    return clock.rate


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
