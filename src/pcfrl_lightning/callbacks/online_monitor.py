"""kNN and linear accuracy of the frozen features on a labelled set while pretraining runs.

The two classifiers are written out: scikit-learn is no dependency for twelve lines.
"""

from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from pcfrl_lightning.data.loaders import ImageBatches, whole_batch
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.quality.unreadable import without_unreadable
from pcfrl_lightning.errors import DataError, require
from pcfrl_lightning.networks.encoder import Encoder, evaluating
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
        require(
            every_n_epochs >= 1 and max_images >= 2 and neighbors >= 1,
            "OnlineMonitor needs every_n_epochs >= 1, max_images >= 2, neighbors >= 1, "
            f"got {every_n_epochs}, {max_images}, {neighbors}",
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
        if not (due(trainer, self.every_n_epochs) and trainer.is_global_zero):
            return
        encoder: Any = pl_module.network
        train, val = (extract(encoder, self.images[split][0]) for split in ("train", "val"))
        train_labels, val_labels = (self.images[split][1].to(train.device) for split in ("train", "val"))
        predicted = {
            "knn": knn_predict(train, train_labels, val, self.neighbors),
            "linear": ridge_predict(train, train_labels, val),
        }
        for name, labels in predicted.items():
            pl_module.log(f"monitor/{name}_accuracy", (labels == val_labels).float().mean(), rank_zero_only=True)

    def _read(self, data: FaceData, split: str, report_folder: Path) -> tuple[Tensor, Tensor]:
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
        readable = without_unreadable(chosen, report_folder, total=len(faces))
        loader = DataLoader(ImageBatches(readable, data.image_size), batch_size=256, collate_fn=whole_batch)
        return torch.cat([batch["image"] for batch in loader]), readable.labels[self.label]


def due(trainer: L.Trainer, every_n_epochs: int) -> bool:
    """Whether the epoch that ends is one of every so many, or the last."""
    ended = trainer.current_epoch + 1
    return ended % every_n_epochs == 0 or ended == trainer.max_epochs


@torch.no_grad()
def extract(encoder: Encoder, images: Tensor, batch_size: int = 256) -> Tensor:
    """First feature of uint8 images ``(n, 3, S, S)``, (n, D)."""
    with evaluating(encoder):
        return torch.cat([encoder.features(part)[encoder.feature_names[0]] for part in images.split(batch_size)])


def knn_predict(train: Tensor, labels: Tensor, queries: Tensor, neighbors: int = 20) -> Tensor:
    """Majority vote of the k most similar of n training features (n, D) for queries (q, D), by cosine.

    ``labels`` (n,) are long from 0; more neighbours than n count as n; ties go to the smaller label.
    """
    similarity = F.normalize(queries, dim=1) @ F.normalize(train, dim=1).T
    nearest = similarity.topk(min(neighbors, len(train)), dim=1).indices
    return F.one_hot(labels, int(labels.max()) + 1)[nearest].sum(1).argmax(1)


def ridge_predict(train: Tensor, labels: Tensor, queries: Tensor, strength: float = 0.03) -> Tensor:
    """Ridge regression of standardised features on one-hot labels, solved exactly in float64, in its dual form (n, n).

    Arguments as of `knn_predict`; ``strength``, above 0, is the penalty per training image.
    """
    mean, std = train.mean(0), train.std(0).clamp_min(1e-6)
    x, z = ((train - mean) / std).double(), ((queries - mean) / std).double()
    y = F.one_hot(labels, int(labels.max()) + 1).double()
    penalty = strength * len(x) * torch.eye(len(x), dtype=x.dtype, device=x.device)
    return (z @ (x.T @ torch.linalg.solve(x @ x.T + penalty, y - y.mean(0))) + y.mean(0)).argmax(1)
