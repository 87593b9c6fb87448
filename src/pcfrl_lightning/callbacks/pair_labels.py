"""How often calibrated pairs show what they should, where the training images have labels."""

from functools import partial
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from pcfrl_lightning.distributed import all_gather
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.heads import CalibratedContrast, ContrastOutput


class PairLabels(L.Callback):
    """Logs ``train/NAME/same_label``, the share of an epoch's calibrated pairs with equal labels, beside
    ``train/NAME/same_label_chance``, that of all pairs of different images of a batch; NAME is ``face`` or ``pose``.

    The labels are those of the training set, which the method does not see. Nothing is read from the device before an
    epoch ends. An epoch without calibrated pairs logs no share. After a resume inside an epoch the rest of it counts.

    Args:
        label: name of a label of whole numbers, such as ``class``, ``identity`` or ``expression``.
    """

    def __init__(self, label: str = "class") -> None:
        self.label = label
        self.values = torch.empty(0, dtype=torch.long)
        self.outputs: dict[str, ContrastOutput] = {}
        self.sums: dict[str, Tensor] = {}
        self.hooks: list[Any] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Look up the labels, and watch the contrasts.

        Raises:
            UsageError: the data has no such label, or the method has no pairs of images of a batch.
        """
        faces = trainer.datamodule.splits["train"]  # type: ignore[attr-defined]
        values = faces.labels.get(self.label, torch.empty(0, 0))
        if values.ndim != 1 or not (values >= 0).all():  # false for NaN
            known = ", ".join(sorted(faces.labels)) or "none"
            raise UsageError(f"PairLabels: {faces.name} has no known '{self.label}' for each image, it has {known}")
        self.values = values
        heads = {name: part for name, part in pl_module.named_modules() if isinstance(part, CalibratedContrast)}
        if not heads:
            raise UsageError(
                f"PairLabels: {type(pl_module).__name__} has no pairs of images of a batch; remove the callback"
            )
        for name, part in heads.items():
            self.hooks.append(part.register_forward_hook(partial(self._keep, name.rpartition("_")[0] or "face")))

    def _keep(self, name: str, part: nn.Module, arguments: Any, output: ContrastOutput) -> None:
        self.outputs[name] = output

    @torch.no_grad()
    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        rows = trainer.datamodule.trained_on[:, 1]  # type: ignore[attr-defined]
        labels = self.values[rows].to(pl_module.device, non_blocking=True)
        for name, output in self.outputs.items():
            # a contrast may be of the first images of a batch alone
            counts = pair_counts(output, all_gather(labels[: len(output.anchors) // 2]))
            self.sums[name] = self.sums[name] + counts if name in self.sums else counts
        self.outputs = {}

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for name, sums in self.sums.items():
            right, pairs, same, possible = trainer.strategy.reduce(sums, reduce_op="sum").tolist()
            pl_module.log(f"train/{name}/same_label_chance", same / possible, rank_zero_only=True)
            if pairs:
                pl_module.log(f"train/{name}/same_label", right / pairs, rank_zero_only=True)
        self.sums = {}

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for hook in self.hooks:
            hook.remove()
        self.hooks = []


def pair_counts(output: ContrastOutput, labels: Tensor) -> Tensor:
    """Of a contrast of N images with ``labels`` (N,), on all ranks: calibrated pairs of this rank with equal labels,
    its calibrated pairs, pairs of two of the N images with equal labels, pairs of two of them; (4,) float64."""
    accepted, partner, images = output.calibration.accepted, output.calibration.partner, len(labels)
    right = accepted & (labels[partner % images] == labels[output.anchors % images].unsqueeze(1))
    same = (labels.unsqueeze(0) == labels.unsqueeze(1)).sum() - images
    possible = torch.full_like(same, images * (images - 1))
    return torch.stack([right.sum(), accepted.sum(), same, possible]).double()
