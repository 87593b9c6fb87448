"""The pictures nearest to others, by each feature, in one pass over any number of pictures."""

from collections.abc import Mapping, Sequence
from heapq import nsmallest
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from pcfrl_lightning.embedding.run import Job, Ready, batches, stacked
from pcfrl_lightning.errors import DataError


class Neighbour(NamedTuple):
    """A picture (S, S, 3) uint8 at a cosine distance (0: same direction, 1: orthogonal) from a query."""

    distance: float
    name: str
    picture: np.ndarray


class Nearest(NamedTuple):
    """What is near to a query: by feature, its neighbours, the nearest first, and the median distance of all."""

    query: Ready
    neighbours: dict[str, list[Neighbour]]
    median: dict[str, float]


def nearest(job: Job, queries: Job, count: int) -> tuple[list[Nearest], list[str]]:
    """The ``count`` pictures of a job that are nearest to each query, those with the same pixels left out.

    Memory: ``count`` pictures and all distances of each query.

    Returns:
        One entry per query, and lines about pictures that cannot be read.

    Raises:
        DataError: a query cannot be read, or no picture can, or all have the pixels of a query.
    """
    asked = [each for batch in batches(queries, queries.batch_size) for each in batch]
    if broken := next((each for each in asked if each.picture is None), None):
        raise DataError(f"query {broken.name}: {broken.reason}")
    wanted = {name: value.cpu() for name, value in job.extract(stacked(asked)).items() if name in job.features}
    found: list[dict[str, list[Neighbour]]] = [{name: [] for name in job.features} for _ in asked]
    distances: dict[str, list[np.ndarray]] = {name: [] for name in job.features}
    unreadable: list[str] = []
    for batch in batches(job, job.batch_size):
        unreadable += [f"{each.name}: {each.reason}" for each in batch if each.picture is None]
        there = [each for each in batch if each.picture is not None]
        features = job.extract(stacked(there)) if there else {}
        for name in features.keys() & distances.keys():
            apart = _distances(wanted[name], features[name].cpu())
            distances[name].append(apart)
            for query, row, nearby in zip(asked, apart, found, strict=True):
                nearby[name] = _nearer(nearby[name], row, there, query, count)
    if not any(distances.values()):
        raise DataError(f"{', '.join(job.inputs)}: no image can be read")
    if alone := next((query for query, near in zip(asked, found, strict=True) if not any(near.values())), None):
        raise DataError(f"query {alone.name}: {', '.join(job.inputs)} has no other picture")
    medians = {name: np.median(np.concatenate(rows, axis=1), axis=1) for name, rows in distances.items()}
    each = zip(asked, found, strict=True)
    return [Nearest(q, n, _row(medians, number)) for number, (q, n) in enumerate(each)], unreadable


def _distances(queries: Tensor, features: Tensor) -> np.ndarray:
    """(Q, D) and (B, D) to cosine distances (Q, B)."""
    return (1 - F.normalize(queries) @ F.normalize(features).T).clamp(min=0).numpy()


def _nearer(
    known: list[Neighbour], distances: np.ndarray, batch: Sequence[Ready], query: Ready, count: int
) -> list[Neighbour]:
    assert query.picture is not None
    new = (
        Neighbour(float(distances[row]), batch[row].name, picture)
        for row in np.argsort(distances, kind="stable")
        if (picture := batch[row].picture) is not None and not np.array_equal(picture, query.picture)
    )
    return nsmallest(count, known + list(islice(new, count)), key=lambda each: each.distance)


def _row(values: Mapping[str, np.ndarray], number: int) -> dict[str, float]:
    return {name: float(each[number]) for name, each in values.items()}
