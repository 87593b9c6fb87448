"""How long the preparation takes and how large its result is, from a few clips."""

import shutil
import time
from pathlib import Path

from pcfrl_lightning.data.prepare.progress import bytes_text, duration
from pcfrl_lightning.data.prepare.run import Plan

SAMPLE = 32
_ROW = 64
"""Bytes of the tables of a pack a clip, about; a frame has 20 more."""


def estimate(plan: Plan, target: Path, workers: int, sample: int = SAMPLE) -> str:
    """Encode clips that are spread evenly over the plan, in this process; returns a text of a few lines."""
    count = min(sample, len(plan.clips))
    rows = [number * len(plan.clips) // count for number in range(count)]
    start = time.perf_counter()
    answers = [plan.encoder(plan.clips[row]) for row in rows]
    seconds = (time.perf_counter() - start) / len(rows)
    frames = sum(len(answer.frames) for answer in answers) / len(rows)
    size = sum(len(data) for answer in answers for data in answer.frames) / len(rows)
    total = plan.mine * (size + _ROW + 20 * frames)
    there = next(folder for folder in (target.absolute(), *target.absolute().parents) if folder.is_dir())
    people = len({clip.identity for clip in plan.clips})
    shard = f", {plan.mine:,} of them in shard {plan.shard[0]} of {plan.shard[1]}" if plan.shard[1] > 1 else ""
    lines = [
        f"{len(plan.clips):,} clips of {people:,} identities{shard}",
        f"{len(rows)} clips tried: {seconds:.3f} s a clip on one core, {frames:.1f} frames a clip, "
        f"{size / max(frames, 1e-9):,.0f} bytes a frame",
        f"time: {duration(plan.mine * seconds / max(workers, 1))} here (--workers {workers}), "
        f"{duration(plan.mine * seconds / 16)} on 16 such cores",
        f"size: {bytes_text(total)}; {bytes_text(shutil.disk_usage(there).free)} are free in {there}",
    ]
    bad = [(plan.clips[row].place, answer.reason) for row, answer in zip(rows, answers, strict=True) if answer.reason]
    if bad:
        lines.append(f"unusable: {len(bad)} of {len(rows)}, such as {bad[0][0]} ({bad[0][1]})")
    return "\n".join(lines)
