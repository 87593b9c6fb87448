"""The pictures nearest to others, by each feature, in one pass over any number of pictures."""

from collections.abc import Sequence
from heapq import nsmallest
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from pcfrl_lightning.embedding.run import Job, Ready, batches, stacked
from pcfrl_lightning.errors import DataError, UsageError


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
        DataError: there is no query, or one cannot be read, or no picture can, or all have the pixels of a query.
        UsageError: features that are not finite.
    """
    asked = [each for batch in batches(queries, queries.batch_size) for each in batch]
    if not asked:
        raise DataError(f"query {', '.join(queries.inputs)}: no images or videos found")
    if broken := next((each for each in asked if each.picture is None), None):
        raise DataError(f"query {broken.name}: {broken.reason}")
    wanted = _directions(job, asked)
    found = [Nearest(query, {name: [] for name in job.features}, {}) for query in asked]
    distances: dict[str, list[np.ndarray]] = {name: [] for name in job.features}
    unreadable: list[str] = []
    for batch in batches(job, job.batch_size):
        unreadable += [f"{each.name}: {each.reason}" for each in batch if each.picture is None]
        there = [each for each in batch if each.picture is not None]
        for name, directions in _directions(job, there).items():
            apart = (1 - wanted[name] @ directions.T).clamp(min=0).numpy()
            distances[name].append(apart)
            for each, row in zip(found, apart, strict=True):
                each.neighbours[name] = _nearer(each.neighbours[name], row, there, each.query, count)
    if not any(distances.values()):
        raise DataError(f"{', '.join(job.inputs)}: no image can be read")
    if alone := next((each.query for each in found if not any(each.neighbours.values())), None):
        raise DataError(f"query {alone.name}: {', '.join(job.inputs)} has no other picture")
    for name, rows in distances.items():
        for each, median in zip(found, np.median(np.concatenate(rows, axis=1), axis=1), strict=True):
            each.median[name] = float(median)
    return found, unreadable


def _directions(job: Job, batch: Sequence[Ready]) -> dict[str, Tensor]:
    """Unit rows (B, D) of each feature of pictures that were read; nothing where there is none."""
    features = job.extract(stacked(batch)) if batch else {}
    rows = {name: features[name].cpu() for name in job.features if name in features}
    for name, values in rows.items():
        finite = values.isfinite().all(1)
        if not bool(finite.all()):
            raise UsageError(f"{name} is not finite for {batch[int(finite.int().argmin())].name}; check the checkpoint")
    return {name: F.normalize(values) for name, values in rows.items()}


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
