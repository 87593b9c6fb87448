"""Action unit detection on subject-exclusive folds (method section 9, AU)."""

from typing import Any

import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.split import hold_out
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.probes.labels import need
from pcfrl_lightning.probes.plan import Plan, fold_members, whole, with_companions
from pcfrl_lightning.probes.tasks.multilabel import Imbalance, MultiLabelProbe

PAPER_THRESHOLD = 0.0005


class ActionUnitProbe(MultiLabelProbe):
    """BN + linear, binary cross-entropy, F1 per action unit and mean, label ``action_units``.

    A data set without a training split but with ``fold`` and ``subject`` labels (DISFA) is evaluated on each fold after
    training on the others, all folds in one pass over the features, and the folds are averaged.  Other data sets are
    evaluated on their splits.
    ``protocol: paper`` uses the public code's threshold 0.0005 and its unshuffled samples.

    Args:
        image_size: evaluation size, pixels.
        lr: one or several learning rates; the choice and the best epoch are made on training subjects.
        imbalance: see `MultiLabelProbe`.
        threshold: decision threshold; fixed at 0.0005 by ``protocol: paper``.
        **kwargs: see `LinearProbe`.
    """

    task = "action units"
    label = "action_units"
    monitor = "f1"
    paper_shuffles = False

    def __init__(
        self,
        image_size: int = 128,
        lr: float | list[float] = 1e-3,
        imbalance: Imbalance = "none",
        threshold: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size=image_size, lr=lr, imbalance=imbalance, threshold=threshold, **kwargs)
        if self.protocol == "paper":
            self.threshold = PAPER_THRESHOLD

    def plan(self, splits: dict[str, FaceSet], stage: str) -> Plan:
        """Folds where the data set has them, splits otherwise."""
        if "train" in splits or "fold" not in splits["test"].labels:
            return super().plan(splits, stage)
        return self._cross_validation(splits["test"])

    def _cross_validation(self, faces: FaceSet) -> Plan:
        fold, subject = need(faces, "fold").long(), need(faces, "subject").long()
        check_exclusive(faces.name, fold, subject)
        every = whole(faces, self.targets(faces))
        test = fold_members(fold, fold[fold >= 0].unique().tolist())
        train = ~test & (fold >= 0)
        used = every.restrict(test)
        if self.protocol == "paper":
            return Plan(every.restrict(train), used, "test", used, len(test))
        held = torch.zeros_like(train)
        for mine, put_aside in zip(train, held, strict=True):
            put_aside[mine] = hold_out(subject[mine], self.val_fraction, self.seed)
        plan = Plan(every._replace(members=train), None, "", used, len(test))
        return with_companions(plan, held, "held-out training subjects")


def check_exclusive(name: str, fold: Tensor, subject: Tensor) -> None:
    """Refuse folds that share a subject, or a single fold.

    Args:
        name: of the data set.
        fold: (n,) long; negative values belong to no fold.
        subject: (n,) long.

    Raises:
        DataError: a subject lies in two folds, or there is only one fold.
    """
    pairs = torch.stack([subject, fold])[:, fold >= 0].unique(dim=1)
    subjects, counts = pairs[0].unique(return_counts=True)
    if bool((counts > 1).any()):
        raise DataError(
            f"{name}: subject {int(subjects[counts > 1][0])} occurs in more than one fold; results would leak"
        )
    if len(pairs[1].unique()) < 2:
        raise DataError(f"{name}: cross-validation needs at least two folds, label 'fold' has one")
