"""What the nearest neighbours of a face have in common with it: the person, the pose."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

SAME_POSE, OTHER_POSE = 10.0, 30.0
"""Degrees: poses are the same when no angle differs by more than the one, another when some differs by the other."""

_BLOCK = 256


class Neighbours(NamedTuple):
    """Shares in [0, 1] and degrees, each beside what a choice at random among the same candidates would give.

    ``same_pose`` and ``other_pose``: share of faces whose nearest candidate of the same (of another) pose shows the
    same person, over the faces that have such a candidate; ``pose``: mean difference in pose, in degrees over all
    angles, to the nearest face of another person. None where no face has a candidate.
    """

    same_pose: float | None
    same_pose_chance: float | None
    other_pose: float | None
    other_pose_chance: float | None
    pose: float | None
    pose_chance: float | None


def standardized(features: Tensor) -> Tensor:
    """Unit rows (n, D) of features (n, D) whose columns have mean 0 and deviation 1; constant columns become 0."""
    std, mean = torch.std_mean(features.float(), dim=0, correction=0)
    scaled = torch.where(std > 1e-12, (features - mean) / std.clamp_min(1e-12), 0.0)
    return torch.nn.functional.normalize(scaled, dim=1)


def neighbours(
    features: Tensor, pose: Tensor, person: Tensor, occasion: Tensor | None = None, queries: int = 4000
) -> Neighbours:
    """Nearest neighbours by cosine of standardised features (n, D).

    Args:
        features: (n, D).
        pose: (n, A) degrees.
        person: (n,) long.
        occasion: (n,) long: candidates are of another one, so that clothes and background do not tell the person; None
            where every picture is one of its own.
        queries: at most so many faces, evenly spaced, look for neighbours among all.
    """
    unit = standardized(features)
    found: list[Tensor] = []
    for rows in torch.linspace(0, len(unit) - 1, min(queries, len(unit))).round().long().split(_BLOCK):
        similarity = unit[rows] @ unit.T
        difference = (pose[rows].unsqueeze(1) - pose.unsqueeze(0)).abs()
        same = person[rows].unsqueeze(1) == person.unsqueeze(0)
        allowed = torch.ones_like(same).scatter_(1, rows.unsqueeze(1), False)
        if occasion is not None:
            allowed &= occasion[rows].unsqueeze(1) != occasion.unsqueeze(0)
        largest, mean = difference.amax(2), difference.mean(2)
        masks = allowed & (largest <= SAME_POSE), allowed & (largest >= OTHER_POSE)
        found.append(torch.stack([*_shares(similarity, same, masks), *_poses(similarity, mean, ~same)], dim=1))
    return Neighbours(*map(_mean, torch.cat(found).T))


def _shares(similarity: Tensor, same: Tensor, masks: tuple[Tensor, ...]) -> Iterator[Tensor]:
    """For each mask of candidates (q, n): whether the best one is right, and the share of right ones; NaN for none."""
    for mask in masks:
        best = similarity.masked_fill(~mask, -torch.inf).argmax(1, keepdim=True)
        possible = (mask & same).any(1)
        yield torch.where(possible, same.gather(1, best)[:, 0].double(), torch.nan)
        yield torch.where(possible, (mask & same).sum(1) / mask.sum(1).clamp(min=1).double(), torch.nan)


def _poses(similarity: Tensor, difference: Tensor, others: Tensor) -> Iterator[Tensor]:
    """Difference in pose (q,) to the best of ``others`` (q, n), and its mean over all of them; NaN for none."""
    possible = others.any(1)
    best = similarity.masked_fill(~others, -torch.inf).argmax(1, keepdim=True)
    yield torch.where(possible, difference.gather(1, best)[:, 0].double(), torch.nan)
    yield torch.where(possible, (difference * others).sum(1).double() / others.sum(1).clamp(min=1), torch.nan)


def _mean(values: Tensor) -> float | None:
    return None if values.isnan().all() else float(values.nanmean())


def random_pairs(person: Tensor, occasion: Tensor | None = None, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """For every face one other face of the same person and one of another, at random.

    Args:
        person: (n,) long.
        occasion: (n,) long; two faces of one person are then of two occasions.
        seed: of the choice.

    Returns:
        first (P,), second (P,) rows and same (P,) bool; a face without such a partner is left out.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second, same = [], [], []
    for rows in torch.arange(len(person)).split(_BLOCK):
        equal = person[rows].unsqueeze(1) == person.unsqueeze(0)
        own = equal.clone().scatter_(1, rows.unsqueeze(1), False)
        if occasion is not None:
            own &= occasion[rows].unsqueeze(1) != occasion.unsqueeze(0)
        for allowed, kind in ((own, True), (~equal, False)):
            chosen = torch.rand(allowed.shape, generator=generator).masked_fill_(~allowed, -1.0).argmax(1)
            there = allowed.any(1)
            first.append(rows[there])
            second.append(chosen[there])
            same.append(torch.full((int(there.sum()),), kind))
    return torch.cat(first), torch.cat(second), torch.cat(same)
