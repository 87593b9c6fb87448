"""Small videos, made with PyAV, and functions for processes that die."""

import os
import signal
import struct
import time
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from pcfrl_lightning.data.prepare.encode import Encoded, Encoder
from pcfrl_lightning.data.prepare.sources import Clip

TURNS = {"none": (1, 0, 0, 1), "right": (0, 1, -1, 0), "left": (0, -1, 1, 0), "half": (-1, 0, 0, -1)}
TURNS |= {"mirrored": (-1, 0, 0, 1), "transposed": (0, 1, 1, 0)}
"""Display matrices a, b, c, d: a point x, y is shown at a x + c y, b x + d y."""


def picture(number: int, height: int = 64, width: int = 96) -> np.ndarray:
    """Red, green and blue quarters, and a grey one that tells the number."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2, 0] = 255
    image[: height // 2, width // 2 :, 1] = 255
    image[height // 2 :, : width // 2, 2] = 255
    image[height // 2 :, width // 2 :] = number * 2
    return image


def number_of(image: np.ndarray) -> float:
    """What `picture` wrote into its fourth quarter, about."""
    height, width = image.shape[:2]
    return float(image[height * 5 // 8 : height * 7 // 8, width * 5 // 8 : width * 7 // 8].mean()) / 2


def write_video(
    path: Path,
    frames: int = 30,
    rate: Fraction | int = 25,
    stamps: Sequence[float] = (),
    codec: str = "mpeg4",
    turn: str = "none",
    shift: int = 0,
    sound: bool = False,
) -> Path:
    """A video of `picture`s.

    Args:
        path: its suffix chooses the container.
        frames: how many.
        rate: frames a second.
        stamps: seconds of each frame, in place of a constant rate.
        codec: of FFmpeg.
        turn: how it is to be shown, of `TURNS` (MP4 only).
        shift: number of the first picture.
        sound: whether a silent sound track is longer than the pictures.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"movflags": "faststart"} if path.suffix == ".mp4" else {}) as container:
        stream = container.add_stream(codec, rate=Fraction(rate))
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.bit_rate = 1_000_000
        if stamps:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if sound:
            audio = container.add_stream("aac", rate=16000)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number + shift), format="rgb24")
            if stamps:
                frame.pts, frame.time_base = round(stamps[number] * 1000), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if sound:
            container.mux(_silence(audio, frames / float(rate) + 0.5))
    if turn != "none":
        data = bytearray(path.read_bytes())
        place = data.index(b"tkhd") + 44
        a, b, c, d = (value << 16 for value in TURNS[turn])
        data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
        path.write_bytes(data)
    return path


def write_sound(path: Path, seconds: float = 1.0) -> Path:
    """A file without any picture."""
    with av.open(str(path), "w") as container:
        container.mux(_silence(container.add_stream("aac", rate=16000), seconds))
    return path


class PacedEncoder(Encoder):
    """Takes a while for each clip."""

    def __call__(self, clip: Clip) -> Encoded:
        time.sleep(0.02)
        return super().__call__(clip)


def die(task: int) -> int:
    """Ends its process by a signal where the task is negative; else answers."""
    if task < 0:
        os.kill(os.getpid(), -task)
    return task * task


def fail(task: int) -> int:
    """Raises an error of the network at task 3."""
    if task == 3:
        raise OSError(5, "Input/output error", "clip.mp4")
    return task


SEGFAULT = -signal.SIGSEGV
KILLED = -signal.SIGKILL


def _silence(stream: av.AudioStream, seconds: float) -> list[av.Packet]:
    packets = []
    for start in range(0, int(seconds * 16000), 1024):
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
        packets += stream.encode(frame)
    return packets + stream.encode()
