"""The parts of a pack, written one clip after another."""

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from pcfrl_lightning.data.packs import PartWriter, is_finished, is_pack, join
from pcfrl_lightning.data.packs.facts import read_sidecar
from pcfrl_lightning.data.packs.join import finished_parts
from pcfrl_lightning.data.packs.writer import disk_errors, write_atomically
from pcfrl_lightning.data.prepare.encode import Encoded, Encoder
from pcfrl_lightning.data.prepare.pool import in_order
from pcfrl_lightning.data.prepare.progress import Progress
from pcfrl_lightning.data.prepare.sources import Clip
from pcfrl_lightning.errors import DataError

CLIPS = 256
"""Clips of a part."""
UNUSABLE = "unusable.txt"
"""Clips that a pack lacks, one a line: identity/video/clip, tab, reason."""


class Plan:
    """Which clips go into which part, and which parts this process writes.

    Args:
        clips: of all sources, sorted.
        encoder: makes the frames.
        shard: i and n: write part i, i + n, i + 2n ..., counted from 1.
        clips_per_part: of the whole pack.
    """

    def __init__(
        self, clips: Sequence[Clip], encoder: Encoder, shard: tuple[int, int] = (1, 1), clips_per_part: int = CLIPS
    ) -> None:
        self.clips = clips
        self.encoder = encoder
        self.shard = shard
        self.size = clips_per_part
        self.numbers = range(shard[0] - 1, -(-len(clips) // clips_per_part), shard[1])

    def part(self, number: int) -> Sequence[Clip]:
        """The clips of a part."""
        return self.clips[number * self.size : (number + 1) * self.size]

    @cached_property
    def mine(self) -> int:
        """Number of clips that this process has to do with."""
        return sum(len(self.part(number)) for number in self.numbers)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """What the bytes of all parts depend on."""
        names = hashlib.sha256()
        for clip in self.clips:
            names.update(json.dumps(clip.names).encode())
        parts = -(-len(self.clips) // self.size)
        return {**self.encoder.settings, "parts": parts, "clips": len(self.clips), "clips_sha256": names.hexdigest()}


class Written:
    """What is finished of a plan in a folder; DataError where that was begun from other clips or settings."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.waiting: list[int] = []
        self.clips = self.frames = 0
        self.unusable: list[list[str]] = []
        for number in plan.numbers:
            if not is_finished(folder, number):
                self.waiting.append(number)
                continue
            sidecar = read_sidecar(folder, number)
            other = [key for key, value in plan.settings.items() if sidecar["settings"].get(key) != value]
            if other:
                raise DataError(
                    f"{folder}: was begun with other {', '.join(other)}; take the same sources and options, or another "
                    "folder"
                )
            self.clips += len(plan.part(number))
            self.frames += sum(len(clip[-1]) for clip in sidecar["clips"])
            self.unusable += sidecar["unusable"]


def prepare(plan: Plan, target: Path, workers: int, limit: float = 0.01) -> str:
    """Write the parts of a plan that are not finished; and pack.json where this process writes all of them.

    Args:
        plan: what to write.
        target: folder of the pack, or of this shard of it.
        workers: processes that decode; 0 decodes in this one. The bytes do not depend on it.
        limit: share of the clips that may be unusable.

    Returns:
        What is there now, in a line.

    Raises:
        DataError: the folder was begun from other clips or with other settings, too many clips are unusable, another
            process writes there, or the disk is full.
        OSError: the sources cannot be read.
    """
    with disk_errors(target):
        target.mkdir(parents=True, exist_ok=True)
        before = Written(plan, target)
        unusable = before.unusable
        progress = Progress(plan.mine, before.clips)
        try:
            with progress.bar:
                for clip, reason in _write(plan, target, before.waiting, workers, unusable, progress):
                    if len(unusable) > limit * plan.mine:
                        raise DataError(
                            f"{len(unusable)} of {plan.mine} clips are unusable, more than {limit:.1%}, the last is "
                            f"{clip.place} ({reason}); all are listed in {target / UNUSABLE}; what is finished stays: "
                            "allow more with --unusable SHARE"
                        )
        finally:
            _list(target, unusable)
        after = Written(plan, target)
        what = f"{after.clips:,} clips ({len(after.unusable):,} unusable), {after.frames:,} frames in {target}"
        if plan.shard[1] > 1:
            return f"shard {plan.shard[0]} of {plan.shard[1]} is complete: {what}; pcfrl data merge joins the shards"
        if before.waiting or not is_pack(target):
            join(target, verify=False)
        for rest in target.glob("*.part"):  # of a process that was killed while it wrote a list
            rest.unlink()
    return what


def merge(shards: Sequence[Path], target: Path) -> None:
    """Join the shards of a pack and compare every part with its checksum; may be killed and started again.

    Raises what `pcfrl_lightning.data.packs.join` raises, and a DataError where the disk is full.
    """
    with disk_errors(target):
        join(target, shards)
        _list(target, [row for number in finished_parts(target) for row in read_sidecar(target, number)["unusable"]])


def _write(
    plan: Plan, target: Path, waiting: Sequence[int], workers: int, unusable: list[list[str]], progress: Progress
) -> Iterator[tuple[Clip, str]]:
    """Decode in any order, write in that of the plan, so that a kill costs the clips in flight; gives the unusable."""
    under_way: deque[tuple[PartWriter, int, Clip]] = deque()

    def tasks() -> Iterator[Clip]:
        for number in waiting:
            writer = PartWriter(target, number, plan.settings)
            unusable.extend(writer.unusable)
            progress.skip(len(writer.done))
            rest = plan.part(number)[len(writer.done) :]
            if not rest:  # killed before the last step
                writer.finish()
            for clip in rest:
                under_way.append((writer, number, clip))
                yield clip

    def died(status: int) -> Encoded:
        return Encoded(reason=f"it ended the decoder twice (status {status})")

    try:
        for answer in in_order(plan.encoder, tasks(), workers, died):
            writer, number, clip = under_way[0]
            if answer.reason:
                writer.skip(*clip.names, answer.reason)
                unusable.append([*clip.names, answer.reason])
            else:
                writer.add(*clip.names, answer.frames, answer.times, answer.numbers)
            if len(writer.done) == len(plan.part(number)):
                writer.finish()
            under_way.popleft()
            progress.update(len(answer.frames))
            if answer.left_out:
                progress.say(f"{clip.place}: {len(answer.left_out)} frames left out, the first: {answer.left_out[0]}")
            if answer.reason:
                yield clip, answer.reason
    finally:
        for writer, _, _ in under_way:
            writer.close()


def _list(folder: Path, unusable: list[list[str]]) -> None:
    lines = (f"{'/'.join(names)}\t{reason}\n" for *names, reason in sorted(unusable))
    if unusable:
        write_atomically(folder / UNUSABLE, "".join(lines).encode("utf-8", "backslashreplace"))
