"""Random frames a second from packs, from one file a frame and from other formats, in one process.

python benchmarks/voxceleb_loader.py --videos ../shared/data/videos --json benchmarks/voxceleb_loader.json

Lance, LitData and Arrow are measured where `pip install pylance litdata pyarrow` has put them.
"""

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from pcfrl_lightning.bench.report import environment, write_json
from pcfrl_lightning.data import VoxCeleb
from pcfrl_lightning.data.images.decode import decode
from pcfrl_lightning.data.images.sources import read_image
from pcfrl_lightning.data.loaders import ViewBatches
from pcfrl_lightning.data.packs import Pack, PartWriter, codec_of, join
from pcfrl_lightning.data.views.base import Views

BATCH = 256
VOXCELEB2_FRAMES = 52_700_000  # 1,128,246 clips, 2,442 hours, 6 frames a second
CLIPS_A_PART = 256

Clips = list[list[np.ndarray]]


class Whole(Views):
    """The image as it is: views are made on the device."""

    def sample(self, image: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        return {"image": image}


class Format(ABC):
    """A way to store frames; `write` once, then `read` many."""

    module = "torch"

    def __init__(self, folder: Path, quality: int) -> None:
        self.folder = folder
        self.jpeg = codec_of({"codec": "jpeg", "quality": quality})

    @abstractmethod
    def write(self, clips: Clips) -> None: ...

    @abstractmethod
    def read(self, pairs: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        """Frames by (clip, frame)."""


class Files(Format):
    """One JPEG file a frame."""

    def write(self, clips: Clips) -> None:
        for clip, frames in enumerate(clips):
            folder = self.folder / names(clip)[0] / names(clip)[1] / names(clip)[2]
            folder.mkdir(parents=True)
            for number, image in enumerate(frames):
                (folder / f"{number}.jpg").write_bytes(self.jpeg.encode(image))

    def read(self, pairs: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        return [read_image(self.folder, f"{'/'.join(names(clip))}/{frame}.jpg") for clip, frame in pairs]


class JpegPack(Format):
    """A pack of JPEG frames."""

    def settings(self) -> dict[str, Any]:
        return {"codec": "jpeg", "quality": self.jpeg.quality}

    def write(self, clips: Clips) -> None:
        settings = {**self.settings(), "parts": -(-len(clips) // CLIPS_A_PART)}
        for number in range(settings["parts"]):
            writer = PartWriter(self.folder, number, settings)
            codec = codec_of(settings)
            for clip in range(number * CLIPS_A_PART, min((number + 1) * CLIPS_A_PART, len(clips))):
                frames = [codec.encode(image) for image in clips[clip]]
                writer.add(*names(clip), frames, [0.0] * len(frames), range(len(frames)))
            writer.finish()
        join(self.folder)

    def read(self, pairs: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        if not hasattr(self, "pack"):
            self.pack = Pack(self.folder)
        return [self.pack.read(clip, frame) for clip, frame in pairs]


class RawPack(JpegPack):
    """A pack of uint8 frames."""

    def settings(self) -> dict[str, Any]:
        return {"codec": "raw", "size": 64}


class Rows(Format):
    """A table with one row a frame."""

    def write(self, clips: Clips) -> None:
        self.width = len(clips[0])
        self.write_rows([self.jpeg.encode(image) for frames in clips for image in frames])

    def read(self, pairs: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        rows = [clip * self.width + frame for clip, frame in pairs]
        return [decode(data, "frame") for data in self.read_rows(rows)]

    @abstractmethod
    def write_rows(self, rows: list[bytes]) -> None: ...

    @abstractmethod
    def read_rows(self, rows: list[int]) -> Sequence[bytes]: ...


class Arrow(Rows):
    """An Arrow IPC file, memory-mapped."""

    module = "pyarrow"

    def write_rows(self, rows: list[bytes]) -> None:
        import pyarrow as pa

        table = pa.table({"jpeg": pa.array(rows, pa.binary())})
        self.folder.mkdir()
        with pa.ipc.new_file(self.folder / "frames.arrow", table.schema) as writer:
            writer.write_table(table, max_chunksize=CLIPS_A_PART * self.width)
        self.column = pa.ipc.open_file(pa.memory_map(str(self.folder / "frames.arrow"))).read_all()["jpeg"]

    def read_rows(self, rows: list[int]) -> Sequence[bytes]:
        return [self.column[row].as_py() for row in rows]


class Lance(Rows):
    """A Lance data set; the rows of a batch are taken by one call."""

    module = "lance"

    def write_rows(self, rows: list[bytes]) -> None:
        import lance
        import pyarrow as pa

        lance.write_dataset(pa.table({"jpeg": pa.array(rows, pa.binary())}), str(self.folder))
        self.data = lance.dataset(str(self.folder))

    def read_rows(self, rows: list[int]) -> Sequence[bytes]:
        return self.data.take(rows)["jpeg"].to_pylist()


class LitData(Rows):
    """Chunks of LitData."""

    module = "litdata"

    def write_rows(self, rows: list[bytes]) -> None:
        from litdata import StreamingDataset
        from litdata.streaming.writer import BinaryWriter

        writer = BinaryWriter(str(self.folder), chunk_bytes="32MB")
        for number, row in enumerate(rows):
            writer.add_item(number, row)
        writer.done()
        writer.merge()
        self.data = StreamingDataset(str(self.folder), shuffle=False)

    def read_rows(self, rows: list[int]) -> Sequence[bytes]:
        return [self.data[row] for row in rows]


FORMATS: dict[str, type[Format]] = {
    "pack, raw": RawPack,
    "pack, JPEG": JpegPack,
    "one JPEG file a frame": Files,
    "Arrow IPC": Arrow,
    "Lance": Lance,
    "LitData": LitData,
}


def names(clip: int) -> tuple[str, str, str]:
    """Identity, video and clip of a numbered clip: seven clips a video, 25 videos a person."""
    return f"id{clip // 175:05d}", f"video{clip // 7:06d}", f"{clip:07d}"


def frames_of(videos: Path | None, count: int, frames: int) -> Clips:
    """Clips of 64 x 64 frames: every fourth of the videos, cut differently each time; without videos, smooth noise."""
    found: list[np.ndarray] = []
    for path in sorted(videos.iterdir()) if videos else ():
        capture, number = cv2.VideoCapture(str(path)), 0
        while (read := capture.read())[0]:
            if number % 25 % 4 == 0 and number % 25 < 24:
                height, width = read[1].shape[:2]
                side = min(height, width)
                square = read[1][(height - side) // 2 :, (width - side) // 2 :][:side, :side]
                found.append(
                    cv2.cvtColor(cv2.resize(square, (72, 72), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
                )
            number += 1
    rng = np.random.default_rng(0)
    if not found:
        small = rng.integers(0, 256, (64, 12, 12, 3), dtype=np.uint8)
        found = [cv2.resize(image, (72, 72), interpolation=cv2.INTER_CUBIC) for image in small]
    corners = rng.integers(9, size=(count, frames, 2))
    return [[_cut(found, clip * frames + k, *corners[clip, k]) for k in range(frames)] for clip in range(count)]


def _cut(found: list[np.ndarray], number: int, top: int, left: int) -> np.ndarray:
    return np.ascontiguousarray(found[number % len(found)][top : top + 64, left : left + 64])


def rate(work: Callable[[int], int], seconds: float) -> dict[str, float]:
    """Images a second of processor time and of wall time; ``work(step)`` returns how many it read."""
    work(0)
    images, step, start, used = 0, 1, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        images += work(step)
        step += 1
    return {
        "per_cpu_second": images / (time.process_time() - used),
        "per_second": images / (time.perf_counter() - start),
    }


def loader_rates(folder: Path, seconds: float) -> dict[str, dict[str, float]]:
    """Batches of `VoxCeleb` as a worker makes them, and what arrives from one worker."""
    data = VoxCeleb(folder, item="clip", views=Whole(), batch_size=BATCH, num_workers=1)
    data.setup("fit")
    batches = ViewBatches(data.splits["train"], Whole(), 0)
    count = len(batches)

    def make(step: int) -> int:
        order = np.random.default_rng(step).permutation(count)[:BATCH]
        return len(batches.__getitems__([(step, int(index)) for index in order])["image"])

    loader = data.train_dataloader()

    def arrive(step: int) -> int:
        loader.sampler.set_epoch(step)
        return sum(len(batch["image"]) for batch in loader)

    return {"worker": rate(make, seconds), "loader": rate(arrive, seconds)}


def sizes(folder: Path) -> tuple[int, int]:
    """Bytes of all files, and of the blocks they take on the disk."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return sum(each.st_size for each in found), sum(each.st_blocks * 512 for each in found)


def measure(kind: type[Format], folder: Path, clips: Clips, options: argparse.Namespace) -> dict[str, Any]:
    """Size, and random reads a second with decoding, of one format."""
    store = kind(folder, options.quality)
    start = time.process_time()
    store.write(clips)
    written = time.process_time() - start
    total, blocks = sizes(folder)
    frames = len(clips) * len(clips[0])

    def read(step: int) -> int:
        rng = np.random.default_rng(step)
        pairs = rng.integers([len(clips), len(clips[0])], size=(BATCH, 2)).tolist()
        return len(store.read([(clip, frame) for clip, frame in pairs]))

    return {
        "frames_written_per_cpu_second": frames / written,
        "bytes_per_frame": total / frames,
        "voxceleb2_gb": total / frames * VOXCELEB2_FRAMES / 1e9,
        "voxceleb2_gb_on_disk": blocks / frames * VOXCELEB2_FRAMES / 1e9,
        "reads": rate(read, options.seconds),
        **({"batches": loader_rates(folder, options.seconds)} if isinstance(store, (Files, JpegPack)) else {}),
    }


def main(arguments: Sequence[str]) -> dict[str, Any]:
    """Measure every format that is installed and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=Path, help="folder of videos that give the frames; default: smooth noise")
    parser.add_argument("--clips", type=int, default=1024, help="clips, 256 at least (default 1024)")
    parser.add_argument("--frames", type=int, default=18, help="frames a clip (default 18)")
    parser.add_argument("--quality", type=int, default=95, help="of JPEG (default 95)")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement (default 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE too")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    facts = environment(torch.device("cpu"))
    clips = frames_of(options.videos, options.clips, options.frames)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, kind in FORMATS.items():
            if importlib.util.find_spec(kind.module) is None:
                print(f"{name:24} not installed")
                continue
            result[name] = found = measure(kind, Path(folder) / kind.__name__, clips, options)
            per_core = f"{found['reads']['per_cpu_second']:.0f} reads/s of a core"
            made = {part: f"{found['batches'][part]['per_cpu_second' if part == 'worker' else 'per_second']:6.0f}"
                    for part in found.get("batches", ())}  # fmt: skip
            print(
                f"{name:24} {found['bytes_per_frame']:6.0f} B/frame, VoxCeleb2 {found['voxceleb2_gb']:4.0f} GB "
                f"({found['voxceleb2_gb_on_disk']:4.0f} on disk), {per_core}"
                + "".join(f", {part} {images} images/s" for part, images in made.items()),
                flush=True,
            )
    if options.json is not None:
        asked = {
            "clips": options.clips,
            "frames": options.frames,
            "quality": options.quality,
            "videos": bool(options.videos),
        }
        write_json(
            options.json, {"benchmark": "voxceleb_loader", "options": asked, "environment": facts, "result": result}
        )
    return result


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main(sys.argv[1:])
