"""Features of every image, written by ``pcfrl predict``."""

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import BasePredictionWriter

from pcfrl_lightning.run_directory import run_directory


class FeatureWriter(BasePredictionWriter):
    """Writes ``features_rank<r>.pt`` into the run directory after ``pcfrl predict``.

    The file is a dictionary of ``index`` ``(n,)``, the row in the data set, and ``f_s``, ``f_f``, ``f_p`` ``(n, D)``
    float32; read it with ``torch.load(path, weights_only=True)``. In training it does nothing.
    """

    def __init__(self) -> None:
        super().__init__(write_interval="epoch")

    def write_on_epoch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, predictions: Sequence[Any], batch_indices: Sequence[Any]
    ) -> None:
        """Join the batches and write them in one file."""
        folder = run_directory(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"features_rank{trainer.global_rank}.pt"
        torch.save({name: torch.cat([batch[name] for batch in predictions]) for name in predictions[0]}, path)
        print(f"wrote {path}")
