"""Several yes/no labels per image: attributes, action units."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics.functional.classification import multilabel_accuracy, multilabel_f1_score

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.probes.plan import Part
from pcfrl_lightning.probes.results import Metrics
from pcfrl_lightning.probes.tasks.base import Task, check, need

Imbalance = Literal["none", "pos_weight"]


class SeveralClasses(Task):
    """Binary cross-entropy on each of A labels, (n, A) of 0 and 1.

    Args:
        label: see `Task`.
        monitor: ``f1`` or ``accuracy``.
        imbalance: ``none``, or ``pos_weight``: positives weigh (negatives / positives) of the training samples.
        threshold: decision threshold on the probability, fixed beforehand.
        name: see `Task`.

    Raises:
        ValueError: an argument out of range; names it.
    """

    def __init__(
        self,
        label: str,
        monitor: Literal["f1", "accuracy"] = "f1",
        imbalance: Imbalance = "none",
        threshold: float = 0.5,
        name: str = "",
    ) -> None:
        super().__init__(label, name)
        if imbalance not in ("none", "pos_weight"):
            raise ValueError(f"model.imbalance must be none or pos_weight, got {imbalance!r}")
        if not 0 < threshold < 1:
            raise ValueError(f"model.threshold must lie between 0 and 1, got {threshold}")
        self.monitor, self.imbalance, self.threshold = monitor, imbalance, threshold
        self.positive_weight: Tensor | None = None

    def outputs(self, faces: FaceSet) -> int:
        return faces.labels[self.label].shape[1]

    def targets(self, faces: FaceSet) -> dict[str, Tensor]:
        """(n, A) zeros and ones.  Raises DataError for anything else."""
        labels = need(faces, self.label).float()
        check(faces, self.label, ((labels == 0) | (labels == 1)).all(1), "only 0 and 1")
        return {"labels": labels}

    def prepare(self, train: Part) -> None:
        if self.imbalance == "pos_weight":
            members = train.members.float()
            positives = members @ train.targets["labels"]  # (H, A)
            negatives = members.sum(1, keepdim=True) - positives
            self.positive_weight = (negatives / positives.clamp_min(1)).unsqueeze(1)  # (H, 1, A)

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        weight = None if self.positive_weight is None else self.positive_weight.to(outputs.device)
        labels = targets["labels"].expand_as(outputs)
        return binary_cross_entropy_with_logits(outputs, labels, reduction="none", pos_weight=weight).mean(-1)

    def predictions(self, outputs: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return outputs.sigmoid(), targets["labels"].long()

    def metrics(self, outputs: Tensor, targets: dict[str, Tensor]) -> Metrics:
        """F1 and accuracy of each label and their means, in [0, 1]; F1 without any positive is 0."""
        predicted, labels = (outputs.sigmoid() > self.threshold).long(), targets["labels"].long()
        count = labels.shape[1]
        f1 = multilabel_f1_score(predicted, labels, count, average="none")
        accuracy = multilabel_accuracy(predicted, labels, count, average="none")
        share = labels.double().mean(0)
        return {
            "f1": float(f1.mean()),
            "accuracy": float(accuracy.mean()),
            "majority_share": float(torch.maximum(share, 1 - share).mean()),
            "label_f1": f1.reshape(-1).tolist(),
            "label_accuracy": accuracy.reshape(-1).tolist(),
            "positive_share": share.tolist(),
        }

    def facts(self) -> dict[str, Any]:
        return {"threshold": self.threshold, "imbalance": self.imbalance}
