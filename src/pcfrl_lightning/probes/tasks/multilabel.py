"""Several yes/no labels per face: action units and attributes."""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics.functional.classification import multilabel_accuracy, multilabel_f1_score

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.probes.labels import binary_labels
from pcfrl_lightning.probes.linear import LinearProbe
from pcfrl_lightning.probes.plan import Plan
from pcfrl_lightning.probes.results import Metrics

Imbalance = Literal["none", "pos_weight"]


class MultiLabelProbe(LinearProbe):
    """Binary cross-entropy on each of A labels.

    Args:
        imbalance: ``none``, or ``pos_weight``: positives weigh (negatives / positives) of the training samples.
        threshold: decision threshold on the probability, fixed beforehand.
        **kwargs: see `LinearProbe`.

    Raises:
        ValueError: an argument out of range; names it.
    """

    label: ClassVar[str]

    def __init__(self, imbalance: Imbalance = "none", threshold: float = 0.5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if imbalance not in ("none", "pos_weight"):
            raise ValueError(f"model.imbalance must be none or pos_weight, got {imbalance!r}")
        if not 0 < threshold < 1:
            raise ValueError(f"model.threshold must lie between 0 and 1, got {threshold}")
        self.imbalance, self.threshold = imbalance, threshold
        self._positive_weight: Tensor | None = None

    def outputs(self, faces: FaceSet) -> int:
        """Number of labels."""
        return faces.labels[self.label].shape[1]

    def targets(self, faces: FaceSet) -> dict[str, Tensor]:
        """(n, A) zeros and ones.  Raises DataError for anything else."""
        return {"labels": binary_labels(faces, self.label)}

    def prepare(self, plan: Plan, stage: str) -> None:
        """Count positives of each fold's training samples."""
        super().prepare(plan, stage)
        if stage == "fit" and self.imbalance == "pos_weight":
            assert plan.train is not None
            members = plan.train.members.float()
            positives = members @ plan.train.targets["labels"]  # (K, A)
            negatives = members.sum(1, keepdim=True) - positives
            self._positive_weight = (negatives / positives.clamp_min(1)).unsqueeze(1)  # (K, 1, A)

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Mean over labels of the binary cross-entropy."""
        weight = self._positive_weight
        weight = None if weight is None else weight.to(outputs.device)
        labels = targets["labels"].expand_as(outputs)
        return binary_cross_entropy_with_logits(outputs, labels, reduction="none", pos_weight=weight).mean(-1)

    def decide(self, outputs: Tensor) -> Tensor:
        """(n, A) logits to 0/1."""
        return (outputs.sigmoid() > self.threshold).long()

    def metrics(self, outputs: Tensor, targets: dict[str, Tensor]) -> Metrics:
        """F1 and accuracy of each label and their means, in [0, 1]; F1 without any positive is 0."""
        predicted, labels = self.decide(outputs), targets["labels"].long()
        count = labels.shape[1]
        f1 = multilabel_f1_score(predicted, labels, count, average="none")
        accuracy = multilabel_accuracy(predicted, labels, count, average="none")
        share = labels.double().mean(0)
        return {
            "f1": float(f1.mean()),
            "accuracy": float(accuracy.mean()),
            "majority_share": float(torch.maximum(share, 1 - share).mean()),
            "label_f1": f1.tolist(),
            "label_accuracy": accuracy.tolist(),
            "positive_share": share.tolist(),
        }

    def protocol_facts(self) -> dict[str, Any]:
        """Adds threshold and treatment of imbalance."""
        return super().protocol_facts() | {"threshold": self.threshold, "imbalance": self.imbalance}


class AttributeProbe(MultiLabelProbe):
    """CelebA attributes, label ``attributes`` (n, 40).

    Args:
        image_size: evaluation size, pixels.
        lr: one or several learning rates.
        **kwargs: see `MultiLabelProbe`.
    """

    task = "attributes"
    label = "attributes"
    monitor = "accuracy"

    def __init__(self, image_size: int = 128, lr: float | list[float] = 1e-3, **kwargs: Any) -> None:
        super().__init__(image_size=image_size, lr=lr, **kwargs)
