"""What the nearest neighbours of a face have in common with it: the person, the pose."""

from collections import defaultdict

import torch
from torch import Tensor

SAME_POSE, OTHER_POSE = 10.0, 30.0
"""Degrees: poses are the same when no angle differs by more than the one, another when some differs by the other."""

_BLOCK = 256


def standardized(features: Tensor) -> Tensor:
    """Unit rows (n, D) of features (n, D) whose columns have mean 0 and deviation 1; constant columns become 0."""
    std, mean = torch.std_mean(features.float(), dim=0, correction=0)
    scaled = torch.where(std > 1e-12, (features - mean) / std.clamp_min(1e-12), 0.0)
    return torch.nn.functional.normalize(scaled, dim=1)


def neighbours(
    features: Tensor, pose: Tensor, person: Tensor, occasion: Tensor | None = None, queries: int = 4000
) -> dict[str, float | None]:
    """What nearest neighbours by cosine of standardised features have in common with a face.

    ``identity_same_pose`` and ``identity_other_pose``: share of faces whose nearest candidate of the same (of another)
    pose shows the same person, over the faces that have such a candidate; ``pose_nearest``: mean difference in pose, in
    degrees over all angles, to the nearest face of another person; each with ``_chance``: what a choice at random among
    the same candidates would give. None where no face has a candidate.

    Args:
        features: (n, D).
        pose: (n, A) degrees.
        person: (n,) long.
        occasion: (n,) long: candidates are of another one, so that clothes and background do not tell the person; None
            where every picture is one of its own.
        queries: at most so many faces, evenly spaced, look for neighbours among all.
    """
    unit = standardized(features)
    found: dict[str, list[Tensor]] = defaultdict(list)
    for rows in torch.linspace(0, len(unit) - 1, min(queries, len(unit))).round().long().split(_BLOCK):
        similarity = unit[rows] @ unit.T
        difference = (pose[rows].unsqueeze(1) - pose).abs()
        same, allowed = _people(rows, person, occasion)
        largest, mean = difference.amax(2), difference.mean(2)
        compared = {
            "pose_nearest": (~same, mean, ~same),
            "identity_same_pose": (allowed & (largest <= SAME_POSE), same, same),
            "identity_other_pose": (allowed & (largest >= OTHER_POSE), same, same),
        }
        for name, (candidates, values, wanted) in compared.items():
            best = similarity.masked_fill(~candidates, -torch.inf).argmax(1, keepdim=True)
            chance = (values * candidates).sum(1) / candidates.sum(1).clamp(min=1).double()
            possible = (candidates & wanted).any(1)
            found[name].append(values.gather(1, best)[possible, 0].double())
            found[f"{name}_chance"].append(chance[possible])
    joined = {name: torch.cat(parts) for name, parts in found.items()}
    return {name: float(values.mean()) if len(values) else None for name, values in joined.items()}


def random_pairs(person: Tensor, occasion: Tensor | None = None, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """For every face one other face of the same person and one of another, at random.

    ``person`` and ``occasion`` are (n,) long; two faces of one person are then of two occasions.  ``seed`` is that of
    the choice.

    Returns:
        first (P,), second (P,) rows and same (P,) bool; a face without such a partner is left out.
    """
    generator = torch.Generator().manual_seed(seed)
    first, second = [], []
    for rows in torch.arange(len(person)).split(_BLOCK):
        same, allowed = _people(rows, person, occasion)
        for candidates in (same & allowed, ~same):
            chosen = torch.rand(candidates.shape, generator=generator).masked_fill_(~candidates, -1.0).argmax(1)
            there = candidates.any(1)
            first.append(rows[there])
            second.append(chosen[there])
    one, other = torch.cat(first), torch.cat(second)
    return one, other, person[one] == person[other]


def _people(rows: Tensor, person: Tensor, occasion: Tensor | None) -> tuple[Tensor, Tensor]:
    """Which of all faces show the person of each of ``rows``, and which are another picture of another occasion."""
    same = person[rows].unsqueeze(1) == person
    allowed = torch.ones_like(same).scatter_(1, rows.unsqueeze(1), False)
    if occasion is not None:
        allowed &= occasion[rows].unsqueeze(1) != occasion
    return same, allowed
