"""Facial expression recognition (method section 9, FER)."""

from typing import Any

from torch import Tensor

from pcfrl_lightning.probes.plan import Part
from pcfrl_lightning.probes.results import Metrics
from pcfrl_lightning.probes.tasks.classification import ClassificationProbe


class ExpressionProbe(ClassificationProbe):
    """Linear layer without normalisation on F_s at 100 px, cross-entropy, Adam 1e-2, label ``expression``.

    Where the data module knows which test images also occur among the training images (``duplicates_of_train``), the
    accuracy without them is given too.  The public code does not shuffle its training samples.

    Args:
        image_size: evaluation size, pixels.
        lr: one or several learning rates.
        **kwargs: see `ClassificationProbe`.
    """

    task = "expression"
    label = "expression"
    default_norm = "none"
    paper_shuffles = False

    def __init__(self, image_size: int = 100, lr: float | list[float] = 1e-2, **kwargs: Any) -> None:
        super().__init__(image_size=image_size, lr=lr, **kwargs)

    def evaluate(self, outputs: Tensor, part: Part) -> Metrics:
        """Adds ``accuracy_without_duplicates`` and the number of ``duplicates``."""
        found = super().evaluate(outputs, part)
        mask = getattr(self.trainer.datamodule, "duplicates_of_train", None)  # type: ignore[attr-defined]
        if mask is not None:
            fresh = ~mask("test")
            correct = outputs[0].argmax(-1) == part.targets["label"]
            found["accuracy_without_duplicates"] = float(correct[fresh].double().mean())
            found["duplicates"] = float((~fresh).sum())
        return found
