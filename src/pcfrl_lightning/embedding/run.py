"""From pictures to a file: reading in threads, the network in batches, rows to disk."""

import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from pcfrl_lightning.data.images.sources import CorruptImage
from pcfrl_lightning.data.loaders import fit_square
from pcfrl_lightning.embedding.inputs import Input
from pcfrl_lightning.embedding.parts import Parts, is_features
from pcfrl_lightning.embedding.videos import Item
from pcfrl_lightning.errors import CTRL_C, DataError, Stopped, UsageError
from pcfrl_lightning.files import alone

_PART = 512  # pictures: what a kill may cost
_LIVE_BATCH = 8
_AHEAD = 3  # batches that are read before the network needs them
_LINE = 30.0  # seconds between two lines of a log


class Report(NamedTuple):
    """What became of the pictures."""

    rows: int
    unreadable: list[str]  # lines about those left out
    widths: dict[str, int]  # length of each feature
    resumed: int  # how many pictures an earlier run that was interrupted had done


@dataclass
class Job:
    """What is computed from what; ``settings`` and ``about`` are in JSON's types."""

    inputs: dict[str, Input]  # by the name that the user gave
    extract: Callable[[Tensor], dict[str, Tensor]]  # uint8 (B, 3, S, S) to float32 (B, D) by name
    size: int  # side S in pixels
    features: Sequence[str]  # names of those that are written
    settings: dict[str, Any] = field(default_factory=dict)  # what decides the result; to go on needs the same
    about: dict[str, Any] = field(default_factory=dict)  # what else the file says about itself
    crop: Callable[[np.ndarray, str], np.ndarray] | None = None  # a picture and its name to the face in it
    batch_size: int = 64  # pictures per forward pass
    workers: int = 2  # threads that read pictures

    @property
    def live(self) -> bool:
        """Whether an input goes on until it is interrupted."""
        return any(each.live for each in self.inputs.values())


class Ready(NamedTuple):
    """A picture that was read, or why it could not be; without its item, which may hold a whole frame."""

    place: tuple[int, int]
    name: str
    frame: int
    time: float
    picture: np.ndarray | None
    reason: str = ""


def embed_to_file(job: Job, out: Path, form: str) -> Report:
    """Compute the features of all pictures of a job into one file.

    Rows are collected in the folder ``<out>.parts``. A run that ended early is continued by calling this again with the
    same job, and gives the same file; a file of an earlier run is replaced when the new one is complete.  ``form`` is
    one of `FORMATS`.

    Raises:
        DataError: there is no picture, or none that can be read, or the input is not that of the interrupted run.
        UsageError: features that are not finite, no space on the disk, another process that writes ``out``, or ``out``
            is a folder or a file of something else.
    """
    if out.is_dir():
        raise UsageError(f"{out} is a folder; give the name of a file in it")
    if out.exists() and not is_features(out):
        raise UsageError(f"{out} is there and holds no features; it is not replaced, give another --out")
    counts = [each.total() for each in job.inputs.values()]
    total = None if None in counts else sum(filter(None, counts))
    if total == 0:
        raise DataError(f"{', '.join(job.inputs)}: no images or videos found")
    folder = out.with_name(f"{out.name}.parts")
    with alone(folder):
        return _embed(job, out, form, folder, total)


def _embed(job: Job, out: Path, form: str, folder: Path, total: int | None) -> Report:
    """`embed_to_file`, with the folder of its parts and the number of pictures, where it is known."""
    for old in folder.iterdir() if job.live else ():  # what a camera saw does not come again
        old.unlink()
    parts = Parts(folder, job.settings)
    resumed = parts.state().get("seen", 0)
    try:
        _fill(parts, job, total)
    except Exception:
        if not parts.state():  # nothing to go on with
            shutil.rmtree(folder)
        raise
    unreadable, widths, rows = parts.unreadable(), dict[str, int](), 0
    for part in parts.rows(*job.features):
        widths = {name: value.shape[1] for name, value in part.items()}
        rows += len(part[job.features[0]])
    if rows:
        parts.write(out, form, {**job.about, **job.settings, "rows": rows, "unreadable": unreadable})
    shutil.rmtree(folder)
    if not rows:
        hints = "".join(f"; {each.hint}" for each in job.inputs.values() if each.hint)
        raise DataError(f"none of {len(unreadable)} pictures can be read; the first: {unreadable[0]}{hints}")
    return Report(rows, unreadable, widths, resumed)


def _fill(parts: Parts, job: Job, total: int | None) -> None:
    """Add the rows behind the last part; a part ends with the batch that brings it to `_PART` pictures."""
    state, pending = parts.state(), list[dict[str, Any]]()
    done, size = state.get("seen", 0), _LIVE_BATCH if job.live else job.batch_size
    with _bar(total, done) as bar:
        try:
            for batch in batches(job, size, state):
                pending.append(_rows(job, batch, done))
                done += len(batch)
                bar.update(len(batch))
                if len(pending) * size >= _PART:
                    parts.add(_joined(pending))
                    pending = []
        except (KeyboardInterrupt, Stopped) as stop:  # Ctrl-C is the end of a camera
            if not job.live or (isinstance(stop, Stopped) and stop.code != CTRL_C):
                raise
        if pending:
            parts.add(_joined(pending))


def _rows(job: Job, batch: list[Ready], done: int) -> dict[str, Any]:
    """The columns of a batch, of which the first picture is number ``done``, and what `Parts` needs beside them."""
    failed = [each for each in batch if each.picture is None]
    lines = [f"{each.name}{f' (frame {each.frame})' * (each.frame >= 0)}: {each.reason}" for each in failed]
    columns: dict[str, Any] = {"unreadable": np.array(lines, str)}
    columns |= {"place": batch[-1].place, "last": batch[-1].name, "seen": done + len(batch)}
    there = {number: each for number, each in enumerate(batch, done) if each.picture is not None}
    if not there:
        return columns
    columns |= {"name": np.array([each.name for each in there.values()]), "index": np.array(list(there))}
    columns |= {key: np.array([getattr(each, key) for each in there.values()]) for key in ("frame", "time")}
    found = job.extract(stacked(batch))
    for name in job.features:
        columns[name] = found[name].cpu().numpy()
        if not np.isfinite(columns[name]).all():
            raise UsageError(f"{name} is not finite for pictures {done} to {done + len(batch) - 1}")
    return columns


def _joined(batches: list[dict[str, Any]]) -> dict[str, Any]:
    """Several batches as one: the state is that of the last."""
    columns = [name for each in batches for name, value in each.items() if isinstance(value, np.ndarray)]
    joined = {name: np.concatenate([each[name] for each in batches if name in each]) for name in columns}
    return {**batches[-1], **joined}


def batches(job: Job, size: int, state: Mapping[str, Any] | None = None) -> Iterator[list[Ready]]:
    """Pictures, ``size`` at a time; only those behind that of ``state`` (see `Parts.state`), if it is given."""
    left = _ready(job, state or {})
    while batch := list(islice(left, size)):
        yield batch


def stacked(batch: Sequence[Ready]) -> Tensor:
    """The readable pictures of a batch, uint8 (B, 3, S, S)."""
    pictures = [each.picture for each in batch if each.picture is not None]
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def _ready(job: Job, state: Mapping[str, Any]) -> Iterator[Ready]:
    """Pictures, cut and resized, in order."""

    def prepare(place: tuple[int, int], item: Item) -> Ready:
        ready = Ready(place, item.name, item.frame, item.time, None)
        try:
            picture = item.read()
            face = picture if job.crop is None else job.crop(picture, item.name)
            return ready._replace(picture=fit_square(face, job.size))
        except CorruptImage as error:
            return ready._replace(reason=error.reason)

    waiting: deque[Future[Ready]] = deque()
    pool = ThreadPoolExecutor(job.workers)
    try:
        for place, item in _placed(job, state):
            waiting.append(pool.submit(prepare, place, item))
            # a frame is decoded already, and large
            ahead = 1 if job.live else 8 * job.workers if item.frame >= 0 else _AHEAD * job.batch_size
            while len(waiting) > ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _placed(job: Job, state: Mapping[str, Any]) -> Iterator[tuple[tuple[int, int], Item]]:
    """Pictures of all inputs behind that of ``state``, with number of the input and number in it.

    Raises:
        DataError: the input is not what it was then.
    """
    first, start = state.get("place", (0, 0))
    expected = state.get("last")
    for number, (given, each) in list(enumerate(job.inputs.items()))[first:]:
        for position, item in enumerate(each.items(start), start):
            alone = len(job.inputs) == 1 or item.name == given
            name = item.name if alone else f"{given.rstrip('/')}/{item.name}"
            if expected is None:
                yield (number, position), item._replace(name=name)
            elif name != expected:
                break
            expected = None
        if expected is not None:
            raise DataError(
                f"{given} has changed since the run began: picture {start} was {expected}; remove the .parts folder "
                "beside --out to begin again"
            )
        start = 0


def _bar(total: int | None, done: int) -> "tqdm[Any]":
    """A bar on a terminal; in a log a line every half minute."""
    if sys.stderr.isatty():
        return tqdm(total=total, initial=done, unit="image", mininterval=1)
    line = "{n_fmt} of {total_fmt} images, {rate_fmt}, {remaining} left\n"
    return tqdm(total=total, initial=done, unit="image", mininterval=_LINE, maxinterval=_LINE, bar_format=line)
