"""kNN and linear accuracy of the frozen features on a labelled set while pretraining runs."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from pcfrl_lightning.callbacks.classifiers import knn_predict, ridge_predict
from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.loaders import ImageBatches, whole_batch
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.quality.unreadable import without_unreadable
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.networks.encoder import Encoder
from pcfrl_lightning.run_directory import run_directory


class OnlineMonitor(L.Callback):
    """Every few epochs logs ``monitor/knn_accuracy`` and ``monitor/linear_accuracy`` on labelled faces.

    Both classifiers see the first feature of the method's encoder (F_s), frozen, fit on (a part of) the ``train`` split
    and judged on ``val``. The linear one is a ridge regression on one-hot labels: a quick indicator, not the protocol.

    Args:
        data: a labelled data set, e.g. ``FER2013`` (its views are not used); default: the run's own data module, whose
            labels pretraining never sees.
        label: name of the label, e.g. ``expression``.
        every_n_epochs: how often, at least 1; the last epoch is always judged.
        max_images: at most so many images of each split, evenly spaced, at least 2.
        neighbors: k of the kNN classifier, at least 1.
    """

    def __init__(
        self,
        data: FaceData | None = None,
        label: str = "expression",
        every_n_epochs: int = 5,
        max_images: int = 4000,
        neighbors: int = 20,
    ) -> None:
        if every_n_epochs < 1 or max_images < 2 or neighbors < 1:
            raise ValueError(
                "OnlineMonitor needs every_n_epochs >= 1, max_images >= 2, neighbors >= 1, "
                f"got {every_n_epochs}, {max_images}, {neighbors}"
            )
        self.data, self.label, self.every_n_epochs = data, label, every_n_epochs
        self.max_images, self.neighbors = max_images, neighbors
        self.images: dict[str, tuple[Tensor, Tensor]] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Read the labelled images once, before training starts; unreadable ones are left out.

        Raises:
            DataError: the data set lacks a split or the label, or more than 1 % of its images are unreadable.
        """
        if stage == "fit" and trainer.is_global_zero and not self.images:
            data = self.data or trainer.datamodule  # type: ignore[attr-defined]
            self.images = {split: self._read(data, split, run_directory(trainer)) for split in ("train", "val")}

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Measure the features after every ``every_n_epochs``-th epoch and the last."""
        due = (trainer.current_epoch + 1) % self.every_n_epochs == 0 or trainer.current_epoch + 1 == trainer.max_epochs
        if not due or not trainer.is_global_zero:
            return
        encoder: Any = pl_module.network
        features = {split: extract(encoder, images) for split, (images, _) in self.images.items()}
        train, val = features["train"], features["val"]
        train_labels, val_labels = (self.images[split][1].to(train.device) for split in ("train", "val"))
        for name, predicted in (
            ("knn", knn_predict(train, train_labels, val, self.neighbors)),
            ("linear", ridge_predict(train, train_labels, val)),
        ):
            pl_module.log(f"monitor/{name}_accuracy", (predicted == val_labels).float().mean(), rank_zero_only=True)

    def _read(self, data: FaceData, split: str, report_folder: Path) -> tuple[Tensor, Tensor]:
        faces = self._choose(data, split, report_folder)
        loader = DataLoader(ImageBatches(faces, data.image_size), batch_size=256, collate_fn=whole_batch)
        return torch.cat([batch["image"] for batch in loader]), faces.labels[self.label]

    def _choose(self, data: FaceData, split: str, report_folder: Path) -> FaceSet:
        """The readable ones of the chosen images; the train set of views is not verified as a whole for them."""
        if split not in data.splits:
            raise DataError(
                f"OnlineMonitor: {data.name} has no split '{split}', only {', '.join(sorted(data.splits))}; "
                "give it labelled faces as `data`, or remove the callback"
            )
        faces = data.splits[split]
        if self.label not in faces.labels:
            raise DataError(
                f"OnlineMonitor: {faces.name} has no label '{self.label}', it has "
                f"{', '.join(sorted(faces.labels)) or 'none'}; set `label`, give it labelled faces as `data`, "
                "or remove the callback"
            )
        rows = torch.linspace(0, len(faces) - 1, min(self.max_images, len(faces))).round().long()
        chosen = faces.subset(rows)
        chosen.name = f"{faces.name}/monitor"  # training keeps a list of its own
        return without_unreadable(chosen, report_folder, total=len(faces))


@torch.no_grad()
def extract(encoder: Encoder, images: Tensor, batch_size: int = 256) -> Tensor:
    """First feature of uint8 images ``(n, 3, S, S)``, (n, D); every module keeps the mode it had."""
    modes = {module: module.training for module in encoder.modules()}
    encoder.eval()
    try:
        return torch.cat([encoder.features(part)[encoder.feature_names[0]] for part in images.split(batch_size)])
    finally:
        for module, mode in modes.items():
            module.training = mode
