"""What a loader needs of one split: rows of features, targets, and which fold may use which sample."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet


class Part(NamedTuple):
    """Samples for training, choosing or testing.

    Attributes:
        faces: the images whose features the samples use.
        rows: (n, V) long, images of each sample; V = 1, or 2 for pairs.
        targets: tensors with n rows.
        members: (K, n) bool, the samples that count for each of K folds; of a training part (H, n), for each head: K,
            or 2 K with companions.
    """

    faces: FaceSet
    rows: Tensor
    targets: dict[str, Tensor]
    members: Tensor

    def restrict(self, members: Tensor) -> "Part":
        """The same samples with other members, without the samples that belong to no fold."""
        kept = members.any(0)
        targets = {key: value[kept] for key, value in self.targets.items()}
        return Part(self.faces, self.rows[kept], targets, members[:, kept])


class Plan(NamedTuple):
    """The parts of a protocol; `choice` (for learning rate and best epoch) and `train` may be missing.

    Attributes:
        train: what the heads are fitted on.
        choice: what learning rate and best epoch are chosen on.
        choice_name: what that is: ``val``, ``held-out training subjects``, ``test`` (protocol paper) ...
        test: what the metrics are computed on.
        folds: K, the heads that are reported.
    """

    train: Part | None
    choice: Part | None
    choice_name: str
    test: Part | None
    folds: int = 1


def whole(faces: FaceSet, targets: dict[str, Tensor]) -> Part:
    """All images of a split, one fold."""
    n = len(faces)
    return Part(faces, torch.arange(n).unsqueeze(1), targets, torch.ones(1, n, dtype=torch.bool))


def groups_of(faces: FaceSet) -> Tensor:
    """(n,) long, equal for images that must not be parted: those of one subject, or one photo; else each its own."""
    for key in ("group", "subject", "identity", "photo"):
        if key in faces.labels:
            return faces.labels[key]
    return torch.arange(len(faces))


def with_companions(plan: Plan, held: Tensor, name: str) -> Plan:
    """Give each head a companion that is trained without ``held`` and can be scored there.

    The companion chooses learning rate and best epoch of its head, which thereby loses no training sample.

    Args:
        plan: has a training part with members (K, n) and nothing to choose on.
        held: (K, n) bool, the samples put aside for choosing, by fold.
        name: of what chooses.

    Returns:
        The plan with training members (2 K, n), heads first, and a part to choose on; unchanged where a fold would have
        nothing to choose on or nothing to train on.
    """
    train = plan.train
    assert train is not None
    chosen, rest = train.members & held, train.members & ~held
    if not bool((chosen.any(1) & rest.any(1)).all()):
        return plan
    heads = train._replace(members=torch.cat([train.members, rest]))
    return plan._replace(train=heads, choice=train.restrict(chosen), choice_name=name)


def fold_members(fold: Tensor, folds: Sequence[int]) -> Tensor:
    """(K, n) bool, True where a sample lies in the fold."""
    return torch.stack([fold == number for number in folds])
