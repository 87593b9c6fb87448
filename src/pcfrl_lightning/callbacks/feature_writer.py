"""Features of every image, written by ``pcfrl predict``."""

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from pcfrl_lightning.data.loaders import ImageBatches
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.run_directory import run_directory


class FeatureWriter(BasePredictionWriter):
    """Writes ``features_rank<r>.pt`` into the run directory after ``pcfrl predict``.

    The file is a dictionary of ``name``, a list of n names of image files, ``index`` ``(n,)``, the row among the
    readable images of the data set, and ``f_s``, ``f_f``, ``f_p`` ``(n, D)`` float32; read it with
    ``torch.load(path, weights_only=True)``. In training it does nothing.
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
        joined = {key: torch.cat([batch[key] for batch in predictions]) for key in predictions[0]}
        torch.save({"name": image_names(trainer, joined["index"])} | joined, path)
        print(f"wrote {path}")


def image_names(trainer: L.Trainer, index: Tensor) -> list[str]:
    """Names of the images that the trainer read for the predictions.

    Args:
        trainer: with the loader of plain images it predicted on.
        index: (n,) long, rows as the loader counts them.

    Raises:
        UsageError: the loader is not one of a face data set.
    """
    images = getattr(trainer.predict_dataloaders, "dataset", None)
    if not isinstance(images, ImageBatches):
        raise UsageError("FeatureWriter needs the loader of a data module of pcfrl_lightning.data; remove the callback")
    return [images.faces.source.name(row) for row in index.tolist()]
