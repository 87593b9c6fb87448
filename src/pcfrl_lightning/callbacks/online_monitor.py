"""What the frozen features hold while pretraining runs: a class by kNN and linearly, and the pose in each feature.

The classifiers are written in torch, so that they run on the device where the features are.
"""

from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from pcfrl_lightning.data.loaders import ImageBatches, whole_batch
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.quality.unreadable import without_unreadable
from pcfrl_lightning.errors import DataError, require
from pcfrl_lightning.functional.ridge import ridge
from pcfrl_lightning.networks.encoder import Encoder, evaluating
from pcfrl_lightning.run_directory import run_directory

POSE = "pose"


class _Images(NamedTuple):
    """uint8 images (n, 3, S, S) and one row of a label for each."""

    pixels: Tensor
    label: Tensor


class OnlineMonitor(L.Callback):
    """Every few epochs logs ``monitor/knn_accuracy`` and ``monitor/linear_accuracy`` on labelled faces.

    Both classifiers see the first feature of the method's encoder (F_s), frozen, fit on (a part of) the ``train`` split
    and judged on ``val``. The linear one is a ridge regression on one-hot labels: a quick indicator, not the protocol.

    Where there are poses, it also logs ``monitor/pose_error_f_s`` and so on, the mean error in degrees of a ridge
    regression of the pose on each feature, and ``monitor/pose_gap``, that of F_f minus that of F_p: above 0 when F_p is
    the better pose feature (`pcfrl disentangle` measures more).

    Args:
        data: a labelled data set, e.g. ``FER2013`` (its views are not used); default: the run's own data module, whose
            labels pretraining never sees.
        label: name of the label, e.g. ``expression``.
        every_n_epochs: how often, at least 1; the last epoch is always judged.
        max_images: at most so many images of each split, evenly spaced, at least 2.
        neighbors: k of the kNN classifier, at least 1.
        pose_data: faces with a ``pose`` in degrees, e.g. ``SyntheticFaces``; default: ``data``, if it has poses.
    """

    def __init__(
        self,
        data: FaceData | None = None,
        label: str = "expression",
        every_n_epochs: int = 5,
        max_images: int = 4000,
        neighbors: int = 20,
        pose_data: FaceData | None = None,
    ) -> None:
        require(
            every_n_epochs >= 1 and max_images >= 2 and neighbors >= 1,
            "OnlineMonitor needs every_n_epochs >= 1, max_images >= 2, neighbors >= 1, "
            f"got {every_n_epochs}, {max_images}, {neighbors}",
        )
        self.data, self.label, self.every_n_epochs = data, label, every_n_epochs
        self.max_images, self.neighbors = max_images, neighbors
        self.pose_data = pose_data
        self.images: dict[str, _Images] = {}
        self.poses: dict[str, _Images] = {}

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Read the labelled images once, before training starts; unreadable ones are left out.

        Raises:
            DataError: the data set lacks a split or the label, its values are no classes (whole numbers from 0), or
                more than 1 % of its images are unreadable.
        """
        if stage == "fit" and trainer.is_global_zero and not self.images:
            data = self.data or trainer.datamodule  # type: ignore[attr-defined]
            poses, folder, splits = self.pose_data or data, run_directory(trainer), ("train", "val")
            self.images = {split: self._read(data, split, self.label, folder) for split in splits}
            for split, (_, label) in self.images.items():
                classes = label.dtype == torch.long and label.ndim == 1 and bool((label >= 0).all())
                numbers = f"OnlineMonitor: label '{self.label}' of {split} is not the number of a class for each image"
                require(classes, f"{numbers}; set `label`, or remove the callback", DataError)
            if self.pose_data or all(POSE in poses.splits[split].labels for split in splits):
                self.poses = {split: self._read(poses, split, POSE, folder) for split in splits}

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not (due(trainer, self.every_n_epochs) and trainer.is_global_zero):
            return
        encoder: Any = pl_module.network
        first = encoder.feature_names[0]
        train, val = (extract(encoder, self.images[split].pixels)[first] for split in ("train", "val"))
        train_labels, val_labels = (self.images[split].label.to(train.device) for split in ("train", "val"))
        predicted = {
            "knn": knn_predict(train, train_labels, val, self.neighbors),
            "linear": ridge_predict(train, train_labels, val),
        }
        for name, labels in predicted.items():
            pl_module.log(f"monitor/{name}_accuracy", (labels == val_labels).float().mean(), rank_zero_only=True)
        if self.poses:
            errors = pose_errors(encoder, self.poses["train"], self.poses["val"])
            for name, error in errors.items():
                pl_module.log(f"monitor/{name}", error, rank_zero_only=True)

    def _read(self, data: FaceData, split: str, label: str, report_folder: Path) -> _Images:
        """The readable ones of the chosen images; the train set of views is not verified as a whole for them."""
        if split not in data.splits:
            raise DataError(
                f"OnlineMonitor: {data.name} has no split '{split}', only {', '.join(sorted(data.splits))}; "
                "give it labelled faces as `data`, or remove the callback"
            )
        faces = data.splits[split]
        if label not in faces.labels:
            raise DataError(
                f"OnlineMonitor: {faces.name} has no label '{label}', it has "
                f"{', '.join(sorted(faces.labels)) or 'none'}; set `label`, give it labelled faces as `data` "
                "(`pose_data` for poses), or remove the callback"
            )
        rows = torch.linspace(0, len(faces) - 1, min(self.max_images, len(faces))).round().long()
        chosen = faces.subset(rows)
        chosen.name = f"{faces.name}/monitor"  # training keeps a list of its own
        readable = without_unreadable(chosen, report_folder, total=len(faces))
        loader = DataLoader(ImageBatches(readable, data.image_size), batch_size=256, collate_fn=whole_batch)
        return _Images(torch.cat([batch["image"] for batch in loader]), readable.labels[label])


def due(trainer: L.Trainer, every_n_epochs: int) -> bool:
    """Whether the epoch that ends is one of every so many, or the last, also where steps or the time end the run."""
    ended = trainer.current_epoch + 1
    last = ended == trainer.max_epochs or trainer.should_stop or 0 < trainer.max_steps <= trainer.global_step
    return ended % every_n_epochs == 0 or last


@torch.no_grad()
def extract(encoder: Encoder, images: Tensor, batch_size: int = 256) -> dict[str, Tensor]:
    """Every feature of uint8 images ``(n, 3, S, S)``, (n, D) by name."""
    with evaluating(encoder):
        parts = [encoder.features(part) for part in images.split(batch_size)]
    return {name: torch.cat([part[name] for part in parts]) for name in encoder.feature_names}


def pose_errors(encoder: Encoder, train: _Images, val: _Images) -> dict[str, Tensor]:
    """``pose_error_NAME`` of every feature, degrees averaged over angles and images; ``pose_gap`` of F_f and F_p."""
    features, queries = extract(encoder, train.pixels), extract(encoder, val.pixels)
    errors = {}
    for name, values in features.items():
        truth, known = val.label.to(values.device), train.label.to(values.device)
        errors[f"pose_error_{name}"] = (ridge(values, known, queries[name]) - truth).abs().mean()
    if {"f_f", "f_p"} <= features.keys():
        errors["pose_gap"] = errors["pose_error_f_f"] - errors["pose_error_f_p"]
    return errors


def knn_predict(train: Tensor, labels: Tensor, queries: Tensor, neighbors: int = 20) -> Tensor:
    """Majority vote of the k most similar of n training features (n, D) for queries (q, D), by cosine.

    ``labels`` (n,) are long from 0; more neighbours than n count as n; ties go to the smaller label.
    """
    similarity = F.normalize(queries, dim=1) @ F.normalize(train, dim=1).T
    nearest = similarity.topk(min(neighbors, len(train)), dim=1).indices
    classes, codes = labels.unique(return_inverse=True)  # numbers of people can be large
    votes = torch.zeros(len(queries), len(classes), device=queries.device)
    return classes[votes.scatter_add_(1, codes[nearest], torch.ones_like(nearest, dtype=votes.dtype)).argmax(1)]


def ridge_predict(train: Tensor, labels: Tensor, queries: Tensor, strength: float = 0.03) -> Tensor:
    """Ridge regression of standardised features on one-hot labels, solved exactly in float64.

    Arguments as of `knn_predict`; ``strength``, above 0, is the penalty per training image.
    """
    classes, codes = labels.unique(return_inverse=True)
    return classes[ridge(train, F.one_hot(codes), queries, strength).argmax(1)]
