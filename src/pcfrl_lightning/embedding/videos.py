"""Frames of videos and webcams with their times, decoded one after another."""

import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pcfrl_lightning.data.images.sources import CorruptImage
from pcfrl_lightning.errors import DataError

VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp")
_SPARE = 2  # frames that a container may promise too many


class Item(NamedTuple):
    """A picture to be read: its name, how (raises CorruptImage), and for a frame its time in s and its number."""

    name: str
    read: Callable[[], np.ndarray]
    time: float = math.nan
    frame: int = -1


def video_items(name: str, path: Path, fps: float | None, start: int = 0) -> Iterator[Item | None]:
    """The frames of a video, with None in place of the first ``start`` ones, which are not decoded to pictures.

    A video that cannot be opened, or ends before its time, is one item at the end that cannot be read.  ``fps`` frames
    per second are taken, at most those there are; None: all.
    """
    import cv2

    # a path that is absolute is no address such as 10:30.mp4
    capture: Any = cv2.VideoCapture(os.path.abspath(path))
    following = number = taken = 0
    try:
        while capture.isOpened() and capture.grab():
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if (step := _step(seconds, number, fps)) >= following:
                following = step + 1
                yield None if taken < start else _frame(capture, name, seconds, number)
                taken += 1
            number += 1
        promised = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    finally:
        capture.release()
    if number == 0 or number < promised - _SPARE:
        why = f"{number} readable frames of {promised}" if number else "cannot be opened as a video"
        yield None if taken < start else Item(name, _raises(name, why))


def video_count(path: Path, fps: float | None) -> int:
    """How many frames `video_items` gives, by what the container says; 1 where it says nothing."""
    import cv2

    capture: Any = cv2.VideoCapture(os.path.abspath(path))
    frames, rate = capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return max(1, math.ceil(frames * (min(1.0, fps / rate) if fps and rate > 0 else 1.0)))


def webcam_items(number: int, fps: float | None) -> Iterator[Item]:
    """Frames of camera ``number`` with seconds since the first, until it gives no more; ``fps`` as in `video_items`.

    Raises:
        DataError: there is no such camera.
    """
    import cv2

    name, capture = f"webcam:{number}", cv2.VideoCapture(number)
    if not capture.isOpened():
        raise DataError(f"{name}: there is no such camera, or another program uses it")
    following = count = 0
    begin = time.monotonic()
    try:
        while capture.grab():
            begin = begin if count else time.monotonic()
            seconds = time.monotonic() - begin
            if (step := _step(seconds, count, fps)) >= following:
                following = step + 1
                yield _frame(capture, name, seconds, count)
            count += 1
    finally:
        capture.release()


def _step(seconds: float, number: int, fps: float | None) -> int:
    """Which multiple of 1 / ``fps`` a frame has reached; the first one at each is taken, all without ``fps``."""
    return math.floor(seconds * fps + 1e-6) if fps else number


def _frame(capture: Any, name: str, seconds: float, number: int) -> Item:
    there, frame = capture.retrieve()
    if not there:
        return Item(name, _raises(name, f"frame {number} cannot be decoded"), seconds, number)
    return Item(name, lambda: np.ascontiguousarray(frame[:, :, ::-1]), seconds, number)


def _raises(name: str, reason: str) -> Callable[[], np.ndarray]:
    def read() -> np.ndarray:
        raise CorruptImage(name, reason)

    return read
