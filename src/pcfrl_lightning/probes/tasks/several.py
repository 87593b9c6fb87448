"""Several yes/no labels per image: attributes; action units on subject-exclusive folds (method section 9, AU)."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torchmetrics.functional.classification import binary_accuracy, binary_f1_score

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.probes.plan import Part, Plan, Rules, hold_out_groups, require, whole
from pcfrl_lightning.probes.results import Metrics
from pcfrl_lightning.probes.tasks.base import Task, check, need

Imbalance = Literal["none", "pos_weight"]


class SeveralClasses(Task):
    """Binary cross-entropy on each of A labels, (n, A) of 0 and 1; other arguments as of `Task`.

    Args:
        monitor: ``f1`` or ``accuracy``.
        imbalance: ``none``, or ``pos_weight``: positives weigh (negatives / positives) of the training samples.
        threshold: decision threshold on the probability, fixed beforehand.
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
        require("imbalance", imbalance, imbalance in ("none", "pos_weight"), "none or pos_weight")
        require("threshold", threshold, 0 < threshold < 1, "between 0 and 1")
        self.monitor, self.imbalance, self.threshold = monitor, imbalance, threshold
        self.positive_weight: Tensor | None = None

    def outputs(self, faces: FaceSet) -> int:
        return faces.labels[self.label].shape[1]

    def targets(self, faces: FaceSet) -> dict[str, Tensor]:
        """(n, A) zeros and ones.  Raises DataError for anything else."""
        labels = need(faces, self.label, (None,), "several of 0 and 1").float()
        check(faces, self.label, ((labels == 0) | (labels == 1)).all(1), "only 0 and 1")
        return {"labels": labels}

    def prepare(self, train: Part) -> None:
        if self.imbalance == "pos_weight":
            members = train.members.float()
            positives = members @ train.targets["labels"]  # (H, A)
            negatives = members.sum(1, keepdim=True) - positives
            self.positive_weight = (negatives / positives.clamp_min(1)).unsqueeze(1)  # (H, 1, A)

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        if self.positive_weight is not None:  # copied to a GPU in the first step only
            self.positive_weight = self.positive_weight.to(outputs.device)
        labels = targets["labels"].expand_as(outputs)
        return binary_cross_entropy_with_logits(
            outputs, labels, reduction="none", pos_weight=self.positive_weight
        ).mean(-1)

    def predictions(self, outputs: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        return outputs.sigmoid(), targets["labels"].long()

    def metrics(self, outputs: Tensor, targets: dict[str, Tensor]) -> Metrics:
        """F1 and accuracy of each label and their means, in [0, 1]; F1 without any positive is 0."""
        predicted, labels = (outputs.sigmoid() > self.threshold).long(), targets["labels"].long()
        # one by one, since the functions for several labels refuse a single one
        columns = list(zip(predicted.T, labels.T, strict=True))
        f1, accuracy = (torch.stack([of(*each) for each in columns]) for of in (binary_f1_score, binary_accuracy))
        share = labels.double().mean(0)
        return {
            "f1": float(f1.mean()),
            "accuracy": float(accuracy.mean()),
            "majority_share": float(torch.maximum(share, 1 - share).mean()),
            "label_f1": f1.tolist(),
            "label_accuracy": accuracy.tolist(),
            "positive_share": share.tolist(),
        }

    def facts(self) -> dict[str, Any]:
        return {"threshold": self.threshold, "imbalance": self.imbalance}


class FoldedClasses(SeveralClasses):
    """`SeveralClasses` whose data set may have folds instead of a training split, label ``fold``, as DISFA has.

    Each fold is tested after training on the others, all folds in one pass over the features; the metrics are averaged
    over folds, and whole subjects of the training folds choose.  Other data sets are evaluated on their splits.
    Arguments as of `SeveralClasses`.
    """

    paper_shuffles = False

    def plan(self, splits: dict[str, FaceSet], stage: str, rules: Rules) -> Plan:
        """Folds where the data set has them, splits otherwise."""
        if "train" in splits or "test" not in splits or "fold" not in splits["test"].labels:
            return super().plan(splits, stage, rules)
        faces = splits["test"]
        fold, subject = need(faces, "fold").long(), need(faces, "subject").long()
        check_exclusive(faces.name, fold, subject)
        every = whole(faces, self.targets(faces))
        test = fold == fold[fold >= 0].unique().unsqueeze(1)  # (K, n)
        train = ~test & (fold >= 0)
        used = every.restrict(test)
        if rules.protocol == "paper":
            return Plan(every.restrict(train), used, "test", used, len(test))
        plan = Plan(every._replace(members=train), None, "", used, len(test))
        return hold_out_groups(plan, subject, rules, "held-out training subjects")


def check_exclusive(name: str, fold: Tensor, subject: Tensor) -> None:
    """Refuse folds (n,) that share a subject (n,), or a single fold; a negative number is no fold."""
    pairs = torch.stack([subject, fold])[:, fold >= 0].unique(dim=1)
    subjects, counts = pairs[0].unique(return_counts=True)
    if bool((counts > 1).any()):
        shared = int(subjects[counts > 1][0])
        raise DataError(f"{name}: subject {shared} occurs in more than one fold; results would leak")
    if len(pairs[1].unique()) < 2:
        raise DataError(f"{name}: cross-validation needs at least two folds, label 'fold' has one")
