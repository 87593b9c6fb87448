"""One class per image: linear classification."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix, multiclass_f1_score

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.probes.heads import InputNorm
from pcfrl_lightning.probes.results import Metrics
from pcfrl_lightning.probes.tasks.base import Task, check, need

_SPARSE = 1000
"""Outputs for each class that occurs, above which labels are no numbers of classes but of people or the like."""


class Classes(Task):
    """Cross-entropy on one class label, (n,) long; other arguments as of `Task`.

    Args:
        num_classes: classes; default: the class names of the data set, or else the highest label of its training split
            plus one.
    """

    monitor = "accuracy"

    def __init__(
        self,
        label: str,
        num_classes: int | None = None,
        input_norm: InputNorm = "batchnorm",
        paper_shuffles: bool = True,
        name: str = "",
    ) -> None:
        super().__init__(label, name)
        self.num_classes, self.input_norm, self.paper_shuffles = num_classes, input_norm, paper_shuffles

    def outputs(self, faces: FaceSet) -> int:
        known = self._known(faces)
        classes = known or int(faces.labels[self.label].max()) + 1
        if not known and classes > _SPARSE * (present := len(faces.labels[self.label].unique())):
            numbers = f"{faces.name}: the {present} classes of '{self.label}' are numbered up to {classes - 1}"
            raise DataError(f"{numbers}: name it in class_columns of a table, or number them from 0")
        if classes < 2:
            raise DataError(f"{faces.name}: '{self.label}' has one class only, there is nothing to tell apart")
        return classes

    def targets(self, faces: FaceSet) -> dict[str, Tensor]:
        """Class numbers.  Raises DataError for one that is out of range."""
        labels = need(faces, self.label, (), "one number")
        whole = labels == labels.round() if labels.is_floating_point() else torch.ones_like(labels, dtype=torch.bool)
        classes = self._known(faces)
        known = labels < classes if classes else torch.ones_like(whole)
        check(faces, self.label, (labels >= 0) & known & whole, f"0..{classes - 1}" if classes else "0 or more")
        return {"label": labels.long()}

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        labels = targets["label"].expand(outputs.shape[:-1])
        return cross_entropy(outputs.flatten(0, -2), labels.flatten(), reduction="none").view(labels.shape)

    def score(self, outputs: Tensor, targets: dict[str, Tensor]) -> float:
        return float((outputs.argmax(-1) == targets["label"]).double().mean())

    def predictions(self, outputs: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Probabilities (n, C) and classes (n,)."""
        return outputs.softmax(-1), targets["label"]

    def metrics(self, outputs: Tensor, targets: dict[str, Tensor]) -> Metrics:
        """Accuracy, macro F1 and per-class accuracy in [0, 1], confusion matrix (rows: true class).

        Means are over the classes that occur.
        """
        predicted, labels = outputs.argmax(-1), targets["label"]
        classes = outputs.shape[-1]
        if int(labels.max()) >= classes:  # only possible where the data set names no classes
            raise DataError(
                f"class {int(labels.max())} of {self.label} has no training image: set num_classes of the task"
            )
        present = torch.bincount(labels, minlength=classes) > 0
        per_class = multiclass_accuracy(predicted, labels, classes, average="none")
        f1 = multiclass_f1_score(predicted, labels, classes, average="none")
        met = present | (torch.bincount(predicted, minlength=classes) > 0)
        return {
            "accuracy": float((predicted == labels).double().mean()),
            "macro_f1": float(f1[met].mean()),
            "mean_class_accuracy": float(per_class[present].mean()),
            "majority_share": float(torch.bincount(labels).max() / len(labels)),
            "class_accuracy": per_class.tolist(),
            "confusion": multiclass_confusion_matrix(predicted, labels, classes).tolist(),
        }

    def _known(self, faces: FaceSet) -> int | None:
        return self.num_classes or len(faces.class_names.get(self.label, [])) or None
