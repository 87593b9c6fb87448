"""How fast one core decodes face videos from beginning to end, with each library that is installed.

    python benchmarks/decode.py VIDEOS --json benchmarks/decode.json

VIDEOS is a folder of videos. They are decoded as they are, and as copies like VoxCeleb2's clips: 224 px, H.264, 25
frames a second, 7.8 s, about 190 kB. Of each 25 frames six are resized to 64 px. Frames per second of processor time,
one thread, the best of some rounds in which the libraries take turns. The last line is the whole preparation of a clip.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import torch

from pcfrl_lightning.bench.report import environment
from pcfrl_lightning.data.loaders import fit_square
from pcfrl_lightning.data.prepare import Encoder
from pcfrl_lightning.data.prepare.decode import sampled_frames
from pcfrl_lightning.data.prepare.sources import find_clips

KEPT = (0, 4, 8, 12, 16, 20)
FRAMES = 195  # the mean clip of VoxCeleb2: 7.8 s
CLIPS = 1_128_246  # of VoxCeleb2, dev and test
Taken = tuple[int, dict[int, np.ndarray]]
"""How many frames were decoded, and the kept ones by number."""


def by_pyav(path: str) -> Taken:
    kept = {frame.number: fit_square(frame.image, 64) for frame in sampled_frames(path, 6)}
    with av.open(path) as container:
        return container.streams.video[0].frames or 75, kept


def by_opencv(path: str) -> Taken:
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    count, kept = 0, {}
    while capture.grab():
        if count % 25 in KEPT:
            kept[count] = cv2.cvtColor(fit_square(capture.retrieve()[1], 64), cv2.COLOR_BGR2RGB)
        count += 1
    return count, kept


def by_torchcodec(path: str) -> Taken:
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(path, num_ffmpeg_threads=1, dimension_order="NHWC")
    numbers = [number for number in range(len(decoder)) if number % 25 in KEPT]
    frames = decoder.get_frames_at(numbers).data.numpy()
    return len(decoder), {n: fit_square(frame, 64) for n, frame in zip(numbers, frames, strict=True)}


def like_voxceleb(path: Path, folder: Path) -> None:
    """Write a copy of a video as VoxCeleb2 has them, forwards and backwards until it is long enough."""
    with av.open(str(path)) as container:
        frames = [fit_square(frame.to_ndarray(format="rgb24"), 224) for frame in container.decode(video=0)]
    frames = (frames + frames[::-1]) * -(-FRAMES // len(frames))
    with av.open(str(folder / f"{path.stem}.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 224
        stream.pix_fmt, stream.bit_rate = "yuv420p", 200_000
        for frame in frames[:FRAMES]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def measure(folder: Path, libraries: dict[str, Callable[[str], Taken]], rounds: int) -> dict[str, dict[str, float]]:
    """Frames per second of processor time, and kept frames that differ from OpenCV's, for each library."""
    paths = sorted(map(str, folder.iterdir()))
    right = {path: by_opencv(path) for path in paths}
    result = {}
    for name, library in libraries.items():
        wrong = 0
        for path in paths:
            kept = library(path)[1]
            same = {n for n, image in right[path][1].items() if n in kept and np.abs(image - 1.0 * kept[n]).mean() < 2}
            wrong += len(right[path][1]) - len(same)
        result[name] = {"frames_per_second": 0.0, "wrong_frames": wrong}
    total = sum(count for count, _ in right.values())
    for _ in range(rounds):
        for name, library in libraries.items():
            start = time.process_time()
            for path in paths:
                library(path)
            rate = total / (time.process_time() - start)
            result[name]["frames_per_second"] = max(result[name]["frames_per_second"], round(rate))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    libraries = {"PyAV": by_pyav, "OpenCV": by_opencv}
    try:
        by_torchcodec(str(next(options.videos.iterdir())))
        libraries["torchcodec"] = by_torchcodec
    except (ImportError, OSError, RuntimeError) as error:
        print(f"torchcodec: left out ({type(error).__name__})")
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(options.videos.iterdir()):
            like_voxceleb(path, Path(folder))
        results = {"as they are": measure(options.videos, libraries, options.rounds)}
        results["like VoxCeleb2"] = measure(Path(folder), libraries, options.rounds)
        encoder, clips = Encoder(), find_clips([folder])
        seconds = []
        for _ in range(options.rounds):
            start = time.process_time()
            size = sum(len(data) for clip in clips for data in encoder(clip).frames) / len(clips)
            seconds.append((time.process_time() - start) / len(clips))
    for kind, rows in results.items():
        for name, row in rows.items():
            print(f"{kind:16} {name:11} {row['frames_per_second']:6} frames/s, {row['wrong_frames']} wrong frames")
    each = min(seconds)
    whole = {
        "seconds_per_clip": round(each, 4),
        "clips_per_hour": round(3600 / each),
        "days_on_16_cores": round(CLIPS * each / 16 / 86400, 2),
        "bytes_per_clip": round(size),
        "gigabytes": round(CLIPS * size / 1e9),
    }
    print(f"whole preparation of a clip: {whole}")
    if options.json:
        facts = {
            "benchmark": "decode",
            "environment": environment(torch.device("cpu")),
            "decoding": results,
            "preparation": whole,
        }
        options.json.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
