"""Action units on subject-exclusive folds (method section 9, AU)."""

import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.probes.plan import Plan, Rules, fold_members, hold_out_groups, whole
from pcfrl_lightning.probes.tasks.base import need
from pcfrl_lightning.probes.tasks.several import SeveralClasses


class FoldedClasses(SeveralClasses):
    """`SeveralClasses` whose data set may have folds instead of a training split, label ``fold``, as DISFA has.

    Each fold is tested after training on the others, all folds in one pass over the features; the metrics are averaged
    over folds, and whole subjects of the training folds choose.  Other data sets are evaluated on their splits.
    Arguments as of `SeveralClasses`.
    """

    paper_shuffles = False

    def plan(self, splits: dict[str, FaceSet], stage: str, rules: Rules) -> Plan:
        """Folds where the data set has them, splits otherwise."""
        if "train" in splits or "fold" not in splits["test"].labels:
            return super().plan(splits, stage, rules)
        faces = splits["test"]
        fold, subject = need(faces, "fold").long(), need(faces, "subject").long()
        check_exclusive(faces.name, fold, subject)
        every = whole(faces, self.targets(faces))
        test = fold_members(fold, fold[fold >= 0].unique().tolist())
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
