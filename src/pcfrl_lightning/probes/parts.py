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
        members: (K, n) bool, the samples that count for each of K folds.
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
        folds: K.
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


def hold_out(groups: Tensor, fraction: float, seed: int) -> Tensor:
    """Pick whole groups (subjects) at random until ``fraction`` of the samples is reached.

    Args:
        groups: (n,) long, group of each sample.
        fraction: wanted share of the samples, in (0, 1).
        seed: of the order of the groups.

    Returns:
        (n,) bool, True where held out; neither all nor none where there are two groups or more.
    """
    names, member, counts = groups.unique(return_inverse=True, return_counts=True)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    reached = counts[order].cumsum(0) - counts[order]  # samples held out before this group
    taken = torch.zeros(len(names), dtype=torch.bool)
    taken[order] = reached < fraction * len(groups)
    if taken.all():
        taken[order[-1]] = False
    return taken[member]


def fold_members(fold: Tensor, folds: Sequence[int]) -> Tensor:
    """(K, n) bool, True where a sample lies in the fold."""
    return torch.stack([fold == number for number in folds])
