"""Frames of a video by PyAV, which brings its own FFmpeg."""

import math
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from pcfrl_lightning.errors import UsageError

_TOLERANCE = 0.002
"""Seconds by which a time stamp may be rounded: containers that count milliseconds."""
_MOST_PIXELS = 1 << 26
"""Of a frame; a few bytes can claim a size that takes gigabytes."""
_ALLOWED = {"format_whitelist": "mov,matroska,avi,mpeg,mpegts,mpegvideo,m4v,asf,flv,ogg", "protocol_whitelist": "file"}
"""Containers of pictures. FFmpeg goes by the content of a file, which may also be a list of other files or of addresses
that it would then open."""
_CUT = 1.0
"""Seconds that a stream may be shorter than its container says, as where the sound is longer."""


class Unusable(Exception):
    """A clip or frame that cannot be used; the text says why."""


class Frame(NamedTuple):
    """A picture (H, W, 3) uint8 RGB as it is to be seen, its time from the first frame in seconds, and its number."""

    image: np.ndarray
    time: float
    number: int


def sampled_frames(video: str | BinaryIO, rate: float) -> Iterator[Frame]:
    """The frames on show at the times 0, 1/rate, 2/rate ... of a video, each once.

    At 25 frames a second and rate 6 these are, of each 25, numbers 0, 4, 8, 12, 16 and 20.

    Args:
        video: path, or content.
        rate: frames a second; more than the video has gives all of them.

    Raises:
        Unusable: no video in it, no frame, damaged, cut off, or turned by an angle that is no multiple of 90 degrees;
            perhaps after some frames, which are then not to be used.
        OSError: the file cannot be read.
    """
    av = _library()
    try:
        # a path that is absolute is no address such as 10:30.mp4
        source = os.path.abspath(video) if isinstance(video, str) else video
        with av.open(source, metadata_errors="ignore", options=dict(_ALLOWED)) as container:
            # one for all frames: making it takes longer than using it
            convert = av.video.reformatter.VideoReformatter()
            for frame, time, number in _on_show(container, rate):
                image = convert.reformat(frame, format="rgb24", threads=1).to_ndarray()
                yield Frame(_turned(image, frame), time, number)
    except (av.error.FFmpegError, Unusable) as error:
        if isinstance(video, str):
            _read_through(video)
        if isinstance(error, Unusable):
            raise
        raise Unusable(f"not decodable or cut off ({error.strerror})") from None


def _on_show(container: Any, rate: float) -> Iterator[tuple[Any, float, int]]:
    stream = next(
        (each for each in container.streams.video if not each.disposition & each.disposition.attached_pic), None
    )
    if stream is None:
        raise Unusable("no video stream, only sound" if container.streams.audio else "no video stream")
    context = stream.codec_context
    context.thread_count = 1  # clips are decoded beside each other
    context.options = {"err_detect": "explode", "max_pixels": str(_MOST_PIXELS)}
    step = float(1 / Fraction(stream.average_rate or stream.guessed_rate or 25))
    begin, last, count, discarded = None, None, 0, 0
    time = -step
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise Unusable(f"damaged after frame {count}")
        discarded += packet.is_discard
        for frame in packet.decode():
            previous, time = time, time + step if frame.time is None else frame.time - (begin or 0)
            if begin is None:
                begin, time = frame.time or 0.0, 0.0
            if frame.is_corrupt:
                raise Unusable(f"frame {count} is damaged")
            if time < previous:
                raise Unusable(f"time stamps run backwards at frame {count}")
            if last is not None and _due(previous, time, rate):
                yield last, previous, count - 1
            last, count = frame, count + 1
    if last is None:
        raise Unusable("no frames")
    end = time + (float(last.duration * last.time_base) if last.duration and last.time_base else step)
    promised = stream.frames - discarded
    length = (container.duration or 0) / 1e6
    if count < promised or (stream.frames == 0 and end < length - max(_CUT, 0.1 * length)):
        raise Unusable(f"cut off: {count} frames, {end:.1f} of {length:.1f} s")
    if _due(time, end, rate):
        yield last, time, count - 1


def _due(begin: float, end: float, rate: float) -> bool:
    """Whether a multiple of 1/rate falls into the time during which a frame is shown."""
    return math.ceil((begin - _TOLERANCE) * rate) < (end - _TOLERANCE) * rate


def _turned(image: np.ndarray, frame: Any) -> np.ndarray:
    """The picture turned and mirrored as the display matrix of the file says."""
    found = [data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"]
    if not found:
        return image
    matrix = np.frombuffer(bytes(found[0]), np.int32).reshape(3, 3)[:2, :2]  # (x', y') = (x, y) @ matrix
    signs = np.sign(matrix) * (np.abs(matrix) > np.abs(matrix).max() / 100)
    if (np.abs(signs).sum(axis=0) != 1).any() or (np.abs(signs).sum(axis=1) != 1).any():
        raise Unusable("turned by an angle that is no multiple of 90 degrees")
    if signs[0, 0] == 0:
        image = image.transpose(1, 0, 2)
    x, y = signs.sum(axis=0)  # direction of the shown axes along those of the picture
    return np.ascontiguousarray(image[:: int(y), :: int(x)])


def _read_through(path: str) -> None:
    """Tells a failing disk or network, which is an OSError, from a file that is damaged."""
    with open(path, "rb") as file:
        while file.read(1 << 20):
            pass


def _library() -> Any:
    try:
        import av
    except ImportError:
        raise UsageError("videos need PyAV: pip install 'pcfrl-lightning[video]'") from None
    av.logging.set_level(av.logging.PANIC)  # what is wrong is raised, too
    return av
