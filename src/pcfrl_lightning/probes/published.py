"""The probes of the paper (method section 9): settings on the tasks.  For the arguments see `Probe` and the task."""

from typing import Any

from torch import Tensor

from pcfrl_lightning.probes.plan import Part
from pcfrl_lightning.probes.probe import Probe, Rate
from pcfrl_lightning.probes.results import Metrics
from pcfrl_lightning.probes.tasks.classes import Classes
from pcfrl_lightning.probes.tasks.landmarks import Landmarks
from pcfrl_lightning.probes.tasks.numbers import HeadPose
from pcfrl_lightning.probes.tasks.pairs import CosinePairs, LearnedPairs
from pcfrl_lightning.probes.tasks.several import FoldedClasses, Imbalance, SeveralClasses

PAPER_THRESHOLD = 0.0005
"""Decision threshold of the public code for action units."""


class ExpressionProbe(Probe):
    """Linear layer without normalisation on F_s at 100 px, cross-entropy, Adam 1e-2, label ``expression``.

    Where the data module knows which test images also occur among the training images (``duplicates_of_train``), the
    accuracy without them is given too.  The public code does not shuffle its training samples.
    """

    def __init__(self, num_classes: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task = Classes("expression", num_classes, input_norm="none", paper_shuffles=False)

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


class PoseClassProbe(Probe):
    """Head pose as a class (BU-3DFE) at 256 px, label ``pose_class``."""

    def __init__(self, num_classes: int | None = None, image_size: int = 256, **kwargs: Any) -> None:
        super().__init__(image_size=image_size, **kwargs)
        self.task = Classes("pose_class", num_classes, input_norm="none", name="pose class")


class ImageProbe(Probe):
    """General images (CIFAR-10 at 32 px, STL-10 at 96 px; paper Table 9), label ``class``."""

    def __init__(self, num_classes: int | None = None, image_size: int = 32, **kwargs: Any) -> None:
        super().__init__(image_size=image_size, **kwargs)
        self.task = Classes("class", num_classes, input_norm="none", name="image class")


class AttributeProbe(Probe):
    """CelebA attributes, label ``attributes`` (n, 40); see `SeveralClasses`."""

    def __init__(
        self,
        image_size: int = 128,
        lr: Rate = 1e-3,
        imbalance: Imbalance = "none",
        threshold: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size=image_size, lr=lr, **kwargs)
        self.task = SeveralClasses("attributes", "accuracy", imbalance, threshold)


class ActionUnitProbe(AttributeProbe):
    """BN + linear, binary cross-entropy, F1 per action unit and mean, label ``action_units``; see `FoldedClasses`.

    ``protocol: paper`` uses the public code's threshold 0.0005 and its unshuffled samples.
    """

    def __init__(self, imbalance: Imbalance = "none", threshold: float = 0.5, **kwargs: Any) -> None:
        super().__init__(imbalance=imbalance, threshold=threshold, **kwargs)
        used = PAPER_THRESHOLD if self.rules.protocol == "paper" else threshold
        self.task = FoldedClasses("action_units", "f1", imbalance, used, "action units")


class HeadPoseProbe(Probe):
    """BN + linear, L1 on yaw, pitch and roll in degrees, AdamW 1e-3, batches of 128, label ``pose``.

    The spread of the angles is tens of degrees while a head starts at zero, so an epoch count below about fifty needs a
    higher learning rate than the protocol's.
    """

    def __init__(
        self, image_size: int = 256, lr: Rate = 1e-3, batch_size: int = 128, weight_decay: float = 0.01, **kwargs: Any
    ) -> None:
        super().__init__(image_size=image_size, lr=lr, batch_size=batch_size, weight_decay=weight_decay, **kwargs)
        self.task = HeadPose()


class LandmarkProbe(Probe):
    """BN + linear, L1 on landmark coordinates, normalised mean error; see `Landmarks`."""

    def __init__(
        self, image_size: int = 128, lr: Rate = 1e-3, eyes: tuple[int, int] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(image_size=image_size, lr=lr, **kwargs)
        self.task = Landmarks(eyes)


class VerificationProbe(Probe):
    """BN + linear, `CosineEmbeddingLoss` on folds of pairs; see `LearnedPairs`.

    Margin and length of the embedding are not published; neither is lr.
    """

    def __init__(
        self, image_size: int = 128, lr: Rate = 1e-3, embedding_dim: int = 128, margin: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(image_size=image_size, lr=lr, **kwargs)
        self.task = LearnedPairs(embedding_dim, margin)


class CosineVerification(Probe):
    """The training-free protocol, see `CosinePairs`: run `pcfrl test` (``trainer.test``) alone."""

    def __init__(self, image_size: int = 128, **kwargs: Any) -> None:
        super().__init__(image_size=image_size, **kwargs)
        self.task = CosinePairs()
