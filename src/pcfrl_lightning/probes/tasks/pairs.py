"""Face verification on folds of pairs (method section 9, FR)."""

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.split import pairs_of
from pcfrl_lightning.errors import DataError, UsageError
from pcfrl_lightning.probes.metrics import area_under_roc, equal_error_rate, fold_accuracies, tar_at_far
from pcfrl_lightning.probes.plan import Part, Plan, Rules, require, with_companions
from pcfrl_lightning.probes.results import Metrics
from pcfrl_lightning.probes.tasks.base import Task, need

FAR = 1e-3
FOLDS = 10
ROC_FAR = (0.0, 1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.03, 0.05, 0.07, *(step / 20 for step in range(2, 21)))
"""False accept rates at which the ROC curve is kept."""


class CosinePairs(Task):
    """The training-free protocol: cosine of the raw features, threshold of each fold chosen on the others.

    Args:
        label: numbers the people, for a data set that comes without pairs: they are then made from it
            (`pcfrl_lightning.data.split.pairs_of`), in ten folds or as many as there are two people for.
    """

    monitor = "auc"
    trained = False

    def __init__(self, label: str = "") -> None:
        super().__init__(label, "verification")

    def outputs(self, faces: FaceSet) -> int:
        return 0

    def targets(self, faces: FaceSet) -> dict[str, Tensor]:
        """`same` and `fold` of the pairs; DataError for a single fold, or a fold with one kind of pair only."""
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

    def plan(self, splits: dict[str, FaceSet], stage: str, rules: Rules) -> Plan:
        """All pairs, each tested in its fold."""
        if stage != "test":
            raise UsageError("the cosine of two features has nothing to train or to choose: run `pcfrl test` alone")
        every = self.pairs_part(splits, rules)
        return Plan(None, None, "", every, len(every.members))

    def pairs_part(self, splits: dict[str, FaceSet], rules: Rules) -> Part:
        """The pairs of the first split that has some (``test`` before others), with their folds as members."""
        names = sorted(splits, key=lambda name: name != "test")
        found = [splits[name] for name in names if splits[name].pairs is not None]
        if not found and not (self.label and names):
            raise DataError(f"verification needs pairs; none of the splits {', '.join(sorted(splits))} has any")
        faces = found[0] if found else splits[names[0]]
        if faces.pairs is None:
            people = len(need(faces, self.label).unique())
            faces.pairs = pairs_of(faces, self.label, folds=max(2, min(FOLDS, people // 2)), seed=rules.seed)
        targets = self.targets(faces)
        _warn_shared_people(faces)
        rows = torch.stack([faces.pairs.first, faces.pairs.second], dim=1)
        return Part(faces, rows, targets, targets["fold"] == targets["fold"].unique().unsqueeze(1))

    def reduce(self, outputs: Tensor) -> Tensor:
        return pair_cosines(outputs)

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        raise NotImplementedError  # nothing is trained

    def predictions(self, outputs: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Cosines, moved to [0, 1], and whether the people are the same, (n,)."""
        return (pooled(outputs, targets.get("fold")) + 1) / 2, targets["same"].long()

    def metrics(self, outputs: Tensor, targets: dict[str, Tensor]) -> Metrics:
        """Accuracy (mean, standard deviation, folds), AUC, EER, TAR at FAR 1e-3 and at each of `ROC_FAR`, of cosines
        (n,), or (K, n) by fold.

        All but the accuracies pool the pairs of all folds, each scored by the head of its fold: one fold of 300
        different pairs cannot resolve a false accept rate of 1e-3.
        """
        same, fold = targets["same"], targets["fold"]
        accuracies, thresholds = fold_accuracies(outputs, same, fold)
        every = pooled(outputs, fold)
        return {
            "accuracy": float(accuracies.mean()),
            "accuracy_std": float(accuracies.std(correction=0)),
            "auc": area_under_roc(every, same),
            "eer": equal_error_rate(every, same),
            "tar_at_far_1e-3": tar_at_far(every, same, FAR),
            "roc_tar": [tar_at_far(every, same, far) for far in ROC_FAR],
            "accuracy_folds": accuracies.tolist(),
            "thresholds": thresholds.tolist(),
        }

    def evaluate(self, outputs: Tensor, part: Part) -> Metrics:
        """Metrics over all folds of cosines (1, n), or (K, n) with row k from the head that has not seen fold k."""
        return self.all_metrics(outputs[0] if len(outputs) == 1 else outputs, part.targets)


class LearnedPairs(CosinePairs):
    """`CosineEmbeddingLoss` on a linear embedding; head and threshold of each fold are fitted on the other folds.

    The heads of all folds are trained in one pass.  The fold after the test fold chooses learning rate and best epoch,
    by companion heads that are not trained on it (``val_fraction: 0``: no choice).

    Args:
        embedding_dim: length of the embedding.
        margin: cosine below which a pair of different people has no loss, in [-1, 1].
        label: see `CosinePairs`.
    """

    trained = True

    def __init__(self, embedding_dim: int = 128, margin: float = 0.0, label: str = "") -> None:
        super().__init__(label)
        require("embedding_dim", embedding_dim, embedding_dim >= 1, "at least 1")
        require("margin", margin, -1 <= margin <= 1, "between -1 and 1")
        self.embedding_dim, self.margin = embedding_dim, margin

    def outputs(self, faces: FaceSet) -> int:
        return self.embedding_dim

    def plan(self, splits: dict[str, FaceSet], stage: str, rules: Rules) -> Plan:
        """For each fold: train on the others, choose on the next one by companions, test on it."""
        every = self.pairs_part(splits, rules)
        test = every.members
        plan = Plan(every._replace(members=~test), None, "", every, len(test))
        if rules.protocol == "paper":
            return plan._replace(choice=every, choice_name="test")
        following = test.roll(-1, 0) if rules.val_fraction else torch.zeros_like(test)
        return with_companions(plan, following, "next fold")

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """1 - cos for the same person, max(0, cos - margin) for two."""
        cosines = pair_cosines(outputs)
        return torch.where(targets["same"], 1 - cosines, (cosines - self.margin).clamp_min(0))

    def score(self, outputs: Tensor, targets: dict[str, Tensor]) -> float:
        return area_under_roc(outputs, targets["same"])  # needs no threshold

    def facts(self) -> dict[str, Any]:
        return {"embedding_dim": self.embedding_dim, "margin": self.margin}


def pair_cosines(features: Tensor) -> Tensor:
    """Cosine of rows 2i and 2i + 1 of (..., 2B, D), (..., B)."""
    pairs = normalize(features.float(), dim=-1).unflatten(-2, (-1, 2))
    return (pairs[..., 0, :] * pairs[..., 1, :]).sum(-1)


def pooled(cosines: Tensor, fold: Tensor | None) -> Tensor:
    """(n,) cosines, each from the head of its fold, of (K, n); (n,) stays."""
    if cosines.ndim == 1 or fold is None:
        return cosines
    return cosines.gather(0, torch.searchsorted(fold.unique(), fold.contiguous()).unsqueeze(0))[0]


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
