"""Face verification on ten folds of pairs (method section 9, FR)."""

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.errors import DataError, UsageError
from pcfrl_lightning.probes.features.loaders import FeatureBatch
from pcfrl_lightning.probes.linear import LinearProbe
from pcfrl_lightning.probes.metrics import area_under_roc, equal_error_rate, fold_accuracies, tar_at_far
from pcfrl_lightning.probes.plan import Part, Plan, fold_members, with_companions
from pcfrl_lightning.probes.probe import FeatureProbe
from pcfrl_lightning.probes.results import Metrics

FAR = 1e-3


class CosineVerification(FeatureProbe):
    """The training-free protocol: cosine of the raw features, threshold of each fold chosen on the other nine.

    There is nothing to fit: run `pcfrl test` (``trainer.test``).

    Args:
        image_size: evaluation size, pixels.
        **kwargs: see `FeatureProbe`.
    """

    task = "verification"

    def __init__(self, image_size: int = 128, **kwargs: Any) -> None:
        super().__init__(image_size=image_size, **kwargs)

    def plan(self, splits: dict[str, FaceSet], stage: str) -> Plan:
        """All pairs, each tested in its fold."""
        if stage != "test":
            raise UsageError("CosineVerification has nothing to train: run `pcfrl test`")
        every = pairs_part(splits)
        return Plan(None, None, "", every, len(every.members))

    def test_outputs(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """Cosine of each pair, (1, B)."""
        return {"last": pair_cosines(batch.features).unsqueeze(0)}

    def metrics(self, outputs: Tensor, targets: dict[str, Tensor]) -> Metrics:
        """See `verification_metrics`."""
        return verification_metrics(outputs, targets)

    def evaluate(self, outputs: Tensor, part: Part) -> Metrics:
        """Ten-fold metrics of (1, n) cosines."""
        return self.metrics(outputs[0], part.targets)

    def training_step(self, batch: FeatureBatch, batch_idx: int) -> None:
        """Never reached: `plan` refuses to fit."""

    def configure_optimizers(self) -> None:
        """Nothing to optimise."""


class VerificationProbe(LinearProbe):
    """BN + linear, `CosineEmbeddingLoss`; head and threshold of each fold are fitted on the other folds.

    The heads of all folds are trained in one pass.  The fold after the test fold chooses learning rate and best epoch,
    by companion heads that are not trained on it (``val_fraction: 0``: no choice).  Margin and length of the embedding
    are not published; neither is lr.

    Args:
        image_size: evaluation size, pixels.
        lr: one or several learning rates.
        embedding_dim: length of the embedding.
        margin: cosine below which different people cost nothing, in [-1, 1].
        **kwargs: see `LinearProbe`.

    Raises:
        ValueError: an argument out of range; names it.
    """

    task = "verification"
    monitor = "auc"

    def __init__(
        self,
        image_size: int = 128,
        lr: float | list[float] = 1e-3,
        embedding_dim: int = 128,
        margin: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size=image_size, lr=lr, **kwargs)
        if embedding_dim < 1:
            raise ValueError(f"model.embedding_dim must be at least 1, got {embedding_dim}")
        if not -1 <= margin <= 1:
            raise ValueError(f"model.margin must lie between -1 and 1, got {margin}")
        self.embedding_dim, self.margin = embedding_dim, margin

    def outputs(self, faces: FaceSet) -> int:
        """Length of the embedding."""
        return self.embedding_dim

    def targets(self, faces: FaceSet) -> dict[str, Tensor]:
        """`same` and `fold` of the pairs."""
        return pair_targets(faces)

    def plan(self, splits: dict[str, FaceSet], stage: str) -> Plan:
        """For each fold: train on the others, choose on the next one by companions, test on it."""
        every = pairs_part(splits)
        test = every.members
        if self.protocol == "paper":
            return Plan(every._replace(members=~test), every, "test", every, len(test))
        plan = Plan(every._replace(members=~test), None, "", every, len(test))
        following = test.roll(-1, 0) if self.val_fraction else torch.zeros_like(test)
        return with_companions(plan, following, "next fold")

    def reduce(self, outputs: Tensor) -> Tensor:
        """Embeddings (..., 2B, C) to cosines (..., B)."""
        return pair_cosines(outputs)

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """1 - cos for the same person, max(0, cos - margin) for two."""
        cosines = pair_cosines(outputs)
        return torch.where(targets["same"], 1 - cosines, (cosines - self.margin).clamp_min(0))

    def score(self, outputs: Tensor, targets: dict[str, Tensor]) -> float:
        """Area under the ROC curve: needs no threshold."""
        return area_under_roc(outputs, targets["same"])

    def metrics(self, outputs: Tensor, targets: dict[str, Tensor]) -> Metrics:
        """See `verification_metrics`."""
        return verification_metrics(outputs, targets)

    def evaluate(self, outputs: Tensor, part: Part) -> Metrics:
        """Ten-fold metrics of cosines (K, n), row k from the head that has not seen fold k."""
        return self.metrics(outputs, part.targets)

    def protocol_facts(self) -> dict[str, Any]:
        """Adds the settings that are not published."""
        return super().protocol_facts() | {"embedding_dim": self.embedding_dim, "margin": self.margin}


def pair_cosines(features: Tensor) -> Tensor:
    """Cosine of rows 2i and 2i + 1 of (..., 2B, D), (..., B)."""
    pairs = normalize(features.float(), dim=-1).unflatten(-2, (-1, 2))
    return (pairs[..., 0, :] * pairs[..., 1, :]).sum(-1)


def verification_metrics(cosines: Tensor, targets: dict[str, Tensor]) -> Metrics:
    """Accuracy (mean, standard deviation, folds), AUC, EER and TAR at FAR 1e-3.

    The last three pool the pairs of all folds, each scored by the head of its fold: one fold of 300 different pairs
    cannot resolve a false accept rate of 1e-3.

    Args:
        cosines: (n,), or (K, n) with a head per fold.
        targets: `same` (n,) bool and `fold` (n,) long.
    """
    same, fold = targets["same"], targets["fold"]
    accuracies, thresholds = fold_accuracies(cosines, same, fold)
    position = torch.searchsorted(fold.unique(), fold.contiguous())
    pooled = cosines if cosines.ndim == 1 else cosines.gather(0, position.unsqueeze(0))[0]
    return {
        "accuracy": float(accuracies.mean()),
        "accuracy_std": float(accuracies.std(correction=0)),
        "auc": area_under_roc(pooled, same),
        "eer": equal_error_rate(pooled, same),
        "tar_at_far_1e-3": tar_at_far(pooled, same, FAR),
        "accuracy_folds": accuracies.tolist(),
        "thresholds": thresholds.tolist(),
    }


def pair_targets(faces: FaceSet) -> dict[str, Tensor]:
    """`same` and `fold` of the pairs of a split.

    Raises:
        DataError: the split has no pairs, one fold only, or only one kind of pair in a fold.
    """
    if faces.pairs is None or not len(faces.pairs.same):
        raise DataError(f"{faces.name}: verification needs pairs, this split has none")
    same, fold = faces.pairs.same.bool(), faces.pairs.fold.long()
    names = fold.unique().tolist()
    if len(names) < 2:
        raise DataError(f"{faces.name}: verification needs at least two folds of pairs, found {len(names)}")
    for name in names:
        if len(same[fold == name].unique()) < 2:
            raise DataError(f"{faces.name}: fold {name} has only one kind of pair, needs same and different people")
    return {"same": same, "fold": fold}


def pairs_part(splits: dict[str, FaceSet]) -> Part:
    """The pairs of the first split that has some (``test`` before others), with their folds as members.

    Raises:
        DataError: no split has pairs.
    """
    names = sorted(splits, key=lambda name: name != "test")
    found = [splits[name] for name in names if splits[name].pairs is not None]
    if not found:
        raise DataError(f"verification needs pairs; none of the splits {', '.join(sorted(splits))} has any")
    faces = found[0]
    targets, pairs = pair_targets(faces), faces.pairs
    assert pairs is not None
    _warn_shared_people(faces)
    rows = torch.stack([pairs.first, pairs.second], dim=1)
    return Part(faces, rows, targets, fold_members(targets["fold"], targets["fold"].unique().tolist()))


def _warn_shared_people(faces: FaceSet) -> None:
    """Official folds are disjoint in people; say so where they are not."""
    pairs = faces.pairs
    if pairs is None or "identity" not in faces.labels:
        return
    identity = faces.labels["identity"]
    people = torch.cat([identity[pairs.first], identity[pairs.second]])
    seen = torch.stack([people, pairs.fold.repeat(2)]).unique(dim=1)
    shared = int((seen[0].unique(return_counts=True)[1] > 1).sum())
    if shared:
        warnings.warn(f"{faces.name}: {shared} people occur in more than one fold of pairs", stacklevel=3)
