"""Linear classification of one label; expression, pose class and image class are three lines each."""

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix, multiclass_f1_score

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.probes.labels import class_labels
from pcfrl_lightning.probes.linear import LinearProbe
from pcfrl_lightning.probes.results import Metrics


class ClassificationProbe(LinearProbe):
    """Cross-entropy on one class label.

    Args:
        num_classes: classes; default: the class names of the data set, or else the highest label of its training split
            plus one.
        **kwargs: see `LinearProbe`.
    """

    monitor = "accuracy"
    label: ClassVar[str]

    def __init__(self, num_classes: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes

    def outputs(self, faces: FaceSet) -> int:
        """Number of classes."""
        return self.num_classes or len(faces.class_names.get(self.label, ())) or int(faces.labels[self.label].max()) + 1

    def targets(self, faces: FaceSet) -> dict[str, Tensor]:
        """Class numbers.  Raises DataError for one that is out of range."""
        classes = self.num_classes or len(faces.class_names.get(self.label, ())) or None
        return {"label": class_labels(faces, self.label, classes)}

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Cross-entropy of each sample."""
        labels = targets["label"].expand(outputs.shape[:-1])
        return cross_entropy(outputs.flatten(0, -2), labels.flatten(), reduction="none").view(labels.shape)

    def score(self, outputs: Tensor, targets: dict[str, Tensor]) -> float:
        """Accuracy."""
        return float((outputs.argmax(-1) == targets["label"]).double().mean())

    def metrics(self, outputs: Tensor, targets: dict[str, Tensor]) -> Metrics:
        """Accuracy, macro F1 and per-class accuracy in [0, 1], confusion matrix (rows: true class)."""
        predicted, labels = outputs.argmax(-1), targets["label"]
        classes = outputs.shape[-1]
        present = torch.bincount(labels, minlength=classes) > 0
        per_class = multiclass_accuracy(predicted, labels, classes, average="none")
        f1 = multiclass_f1_score(predicted, labels, classes, average="none")
        return {
            "accuracy": float((predicted == labels).double().mean()),
            "macro_f1": float(f1.mean()),
            "mean_class_accuracy": float(per_class[present].mean()),
            "majority_share": float(torch.bincount(labels).max() / len(labels)),
            "class_accuracy": per_class.tolist(),
            "confusion": multiclass_confusion_matrix(predicted, labels, classes).tolist(),
        }


class PoseClassProbe(ClassificationProbe):
    """Head pose as a class (BU-3DFE), label ``pose_class``, 256 px.

    Args:
        image_size: evaluation size, pixels.
        lr: one or several learning rates.
        **kwargs: see `ClassificationProbe`.
    """

    task = "pose class"
    label = "pose_class"
    default_norm = "none"

    def __init__(self, image_size: int = 256, lr: float | list[float] = 1e-2, **kwargs: Any) -> None:
        super().__init__(image_size=image_size, lr=lr, **kwargs)


class ImageProbe(ClassificationProbe):
    """General images (CIFAR-10, STL-10; paper Table 9), label ``class``.

    Args:
        image_size: evaluation size, pixels (32 for CIFAR-10, 96 for STL-10).
        lr: one or several learning rates.
        **kwargs: see `ClassificationProbe`.
    """

    task = "image class"
    label = "class"
    default_norm = "none"

    def __init__(self, image_size: int = 32, lr: float | list[float] = 1e-2, **kwargs: Any) -> None:
        super().__init__(image_size=image_size, lr=lr, **kwargs)
