"""Splits by whole groups of images (people, photos), and verification pairs made from the people of a split."""

import numpy as np
import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet, Pairs
from pcfrl_lightning.errors import DataError

SPLITS = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
"""Split names as they are written, in any case, and what they mean."""


def hold_out(groups: Tensor, fraction: float, seed: int) -> Tensor:
    """Pick whole groups (subjects) at random until ``fraction``, in [0, 1), of the samples is reached.

    ``groups`` is (n,) long, the group of each sample.  Returns (n,) bool, True where held out; of two groups or more at
    least one and not all, unless ``fraction`` is 0.
    """
    names, member, counts = groups.unique(return_inverse=True, return_counts=True)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed))
    reached = counts[order].cumsum(0) - counts[order]  # samples held out before this group
    taken = torch.zeros(len(names), dtype=torch.bool)
    taken[order] = reached < fraction * len(groups)
    if taken.all():
        taken[order[-1]] = False
    return taken[member]


def pairs_of(faces: FaceSet, label: str, count: int = 6000, folds: int = 10, seed: int = 0) -> Pairs:
    """Verification pairs made from a person label: as many of one person as of two, folds without a common person.

    The people are distributed over the folds at random, those with most images first, so that the folds have about as
    many images.  A pair lies within one fold and no pair occurs twice.

    Args:
        faces: n images.
        label: key of an (n,) integer label that numbers the people; images with a negative number are left out.
        count: pairs wanted in all, 2 per fold at least; a small fold makes them fewer.
        folds: number of folds, 2 or more.
        seed: of people and pairs.

    Returns:
        2 * folds * k pairs sorted by fold, same-person pairs first.

    Raises:
        DataError: no such label, fewer than two people per fold, or a fold without a person of two images.
        ValueError: count or folds out of range.
    """
    if folds < 2 or count < 2 * folds:
        raise ValueError(f"need folds >= 2 and count >= 2 per fold, got count {count} for {folds} folds")
    if label not in faces.labels or faces.labels[label].ndim != 1 or faces.labels[label].is_floating_point():
        raise DataError(f"{faces.name}: pairs need a label that numbers the people, and '{label}' is none")
    people = faces.labels[label].cpu().numpy()
    names, sizes = np.unique(people[people >= 0], return_counts=True)
    if len(names) < 2 * folds:
        raise DataError(f"{faces.name}: {len(names)} people by '{label}' are too few for {folds} folds of two or more")
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(names))
    # in turn from the largest on: every fold gets a person of several images as long as there are enough
    dealt = names[shuffled[np.argsort(-sizes[shuffled], kind="stable")]]
    made = []
    for fold in range(folds):
        rows = np.flatnonzero(np.isin(people, dealt[fold::folds]))
        made.append([_some_pairs(rows, people, same, count // (2 * folds), rng) for same in (True, False)])
    each = min(len(part) for fold in made for part in fold)
    if each == 0:
        raise DataError(f"{faces.name}: {folds} folds need as many people of two images or more; use fewer folds")
    chosen = torch.from_numpy(np.concatenate([part[:each] for fold in made for part in fold]))
    same = torch.tensor([True, False]).repeat_interleave(each).repeat(folds)
    return Pairs(chosen[:, 0], chosen[:, 1], same, torch.arange(folds).repeat_interleave(2 * each))


def _some_pairs(rows: np.ndarray, people: np.ndarray, same: bool, most: int, rng: np.random.Generator) -> np.ndarray:
    """Up to `most` distinct pairs (k, 2) of different rows, of one person or of two, in random order."""
    if same:
        order = np.argsort(people[rows], kind="stable")
        blocks = np.split(rows[order], np.flatnonzero(np.diff(people[rows][order])) + 1)
        everything = np.concatenate([np.column_stack([b[i] for i in np.triu_indices(len(b), 1)]) for b in blocks])
        return everything[rng.permutation(len(everything))[:most]]
    if len(rows) ** 2 > 8 * most:  # far more pairs than are wanted: draw, and drop the few repeats
        drawn = rows[rng.integers(len(rows), size=(8 * most, 2))]
    else:
        drawn = rng.permutation(np.column_stack([rows[i] for i in np.triu_indices(len(rows), 1)]))
    pairs = np.sort(drawn[people[drawn[:, 0]] != people[drawn[:, 1]]], axis=1)
    first_places = np.unique(pairs, axis=0, return_index=True)[1]
    return pairs[np.sort(first_places)[:most]]
