"""Start-up, memory and sampling of `VoxCeleb` with an index of full size; frames are made up when they are read.

python benchmarks/voxceleb_simulated.py --json benchmarks/voxceleb_simulated.json
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pcfrl_lightning.bench.report import environment, write_json
from pcfrl_lightning.data import VoxCeleb
from pcfrl_lightning.data.packs import Pack
from pcfrl_lightning.data.packs.join import CLIP, FORMAT
from pcfrl_lightning.data.packs.storage import Storage
from pcfrl_lightning.data.views.base import Views

CLIPS = 1_128_246  # of VoxCeleb2, dev and test
CLIPS_A_VIDEO, CLIPS_A_PERSON, CLIPS_A_PART = 7, 184, 1024
SIDE = 64
FRAME = 3 * SIDE**2
NO_SHA256 = "0" * 64  # nothing is verified


class Whole(Views):
    """The image as it is: views are made on the device."""

    def sample(self, image: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"image": image}


class MadeUp(Storage):
    """Parts that exist in pack.json only; their bytes are noise that depends on the position."""

    noise = np.random.default_rng(0).integers(0, 256, 1 << 20, np.uint8).tobytes()

    def sizes(self) -> dict[str, int]:
        return {name: size for name, (size, _) in json.loads(self.read("pack.json"))["files"].items()}

    def read(self, name: str, start: int = 0, count: int | None = None) -> bytes:
        if not name.startswith("part-"):
            return super().read(name, start, count)
        assert count is not None
        begin = start % (len(self.noise) - count)
        return self.noise[begin : begin + count]


class SimulatedVoxCeleb(VoxCeleb):
    """`VoxCeleb` whose pack is of noise; ``root`` holds the index that `write_index` made."""

    def open_pack(self) -> Pack:
        return Pack(self.root, MadeUp(self.root))


def write_index(folder: Path, clips: int) -> int:
    """The tables of a pack of ``clips`` clips of 47 frames on average; returns the number of frames."""
    rng = np.random.default_rng(0)
    table = np.zeros(clips, CLIP)
    number = np.arange(clips)
    table["video"], table["identity"] = number // CLIPS_A_VIDEO, number // CLIPS_A_PERSON
    table["part"], table["frames"] = number // CLIPS_A_PART, rng.integers(24, 71, clips)
    table["first"] = np.cumsum(table["frames"]) - table["frames"]
    table["record"] = table["first"] * FRAME
    table["data"] = table["record"] + 1
    frames = int(table["frames"].sum())
    ends = (np.arange(frames) - np.repeat(table["first"], table["frames"]) + 1) * FRAME
    np.save(folder / "clips.npy", table)
    np.save(folder / "frames.npy", ends.astype(np.uint32))
    files = {f"part-{part:05d}.bin": [1 << 60, NO_SHA256] for part in range(int(table["part"][-1]) + 1)}
    files |= {name: [(folder / name).stat().st_size, NO_SHA256] for name in ("clips.npy", "frames.npy")}
    people = [f"id{person:05d}" for person in range(int(table["identity"][-1]) + 1)]
    facts = {"format": FORMAT, "settings": {"codec": "raw", "size": SIDE}, "identities": people, "files": files}
    facts |= {"clips": clips, "videos": int(table["video"][-1]) + 1, "frames": frames, "unusable": 0}
    (folder / "pack.json").write_text(json.dumps(facts))
    return frames


def memory(processes: Sequence[int]) -> int:
    """Bytes of some processes, shared pages counted once."""
    lines = [line for pid in processes for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


def measure(folder: Path, item: Any, workers: int, batches: int, started: float) -> dict[str, Any]:
    """Set up, wait for the first batch and for some more; ``started`` is when this process was."""
    imported, used = time.time(), time.process_time()
    data = SimulatedVoxCeleb(folder, item=item, val_fraction=0.02, views=Whole(), num_workers=workers)
    data.setup("fit")
    loader = data.train_dataloader()
    iterator = iter(loader)
    next(iterator)
    first, used = time.time(), time.process_time() - used
    peak = 0
    for _ in range(batches):
        next(iterator)
        peak = max(peak, memory([os.getpid(), *(worker.pid for worker in iterator._workers)]))
    elapsed = time.time() - first
    keys = iter(data.train_dataloader().sampler)
    next(keys)
    start = time.perf_counter()
    for _ in range(10_000):
        next(keys)
    return {
        "items": len(data.splits["train"]),
        "seconds_of_imports": imported - started,
        "seconds_to_first_batch": first - started,
        "cpu_seconds_from_set_up_to_first_batch": used,
        "memory_gb": peak / 1e9,
        "images_per_second": batches * data.batch_size / elapsed,
        "microseconds_a_key": (time.perf_counter() - start) * 100,
    }


def main(arguments: Sequence[str]) -> list[dict[str, Any]]:
    """One row for a hundredth, a tenth and all of VoxCeleb2."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[CLIPS // 100, CLIPS // 10, CLIPS])
    parser.add_argument("--item", choices=("clip", "video"), default="clip", help="what an epoch visits (default clip)")
    parser.add_argument("--workers", type=int, default=2, help="loader processes, 1 at least (default 2)")
    parser.add_argument("--batches", type=int, default=20, help="batches of 256 after the first (default 20)")
    parser.add_argument("--index", type=Path, help=argparse.SUPPRESS)  # of the process that measures
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE too")
    options = parser.parse_args(arguments)
    if options.index is not None:
        print(json.dumps(measure(options.index, options.item, options.workers, options.batches, options.started)))
        return []
    facts, rows = environment(torch.device("cpu")), []
    for clips in options.clips:
        with tempfile.TemporaryDirectory() as folder:
            frames = write_index(Path(folder), clips)
            given = [f"--{name}={getattr(options, name)}" for name in ("item", "workers", "batches")]
            command = [sys.executable, __file__, *given, f"--index={folder}", f"--started={time.time()}"]
            measured = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            row = {"clips": clips, "frames": frames, **json.loads(measured)}
        rows.append(row)
        print(
            f"{clips:9} clips, {frames / 1e6:5.1f} M frames: first batch after {row['seconds_to_first_batch']:.1f} s "
            f"({row['seconds_of_imports']:.1f} s imports; processor time of the rest "
            f"{row['cpu_seconds_from_set_up_to_first_batch']:.2f} s), {row['memory_gb']:.2f} GB, "
            f"{row['images_per_second']:.0f} images/s, {row['microseconds_a_key']:.2f} us a key",
            flush=True,
        )
    if options.json is not None:
        asked = {"item": options.item, "workers": options.workers, "batches": options.batches}
        write_json(
            options.json, {"benchmark": "voxceleb_simulated", "options": asked, "environment": facts, "result": rows}
        )
    return rows


if __name__ == "__main__":
    main(sys.argv[1:])
