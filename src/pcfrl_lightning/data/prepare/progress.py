"""How far a long job is: a bar on a terminal, a line a minute in a log."""

import sys
import time

from tqdm import tqdm

_PERIOD = 60.0
"""Seconds between two lines in a log."""


class Progress:
    """Clips a second, frames a second and the time left, on standard error; its `bar` is to be closed.

    Args:
        total: clips in all.
        done: clips that were there before; they do not count for the speed.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self.total, self.before, self.clips, self.frames = total, done, 0, 0
        self.start = self.shown = time.monotonic()
        self.lines = not sys.stderr.isatty()
        self.bar = tqdm(total=total, initial=done, unit="clip", smoothing=0.05, disable=self.lines)

    def update(self, frames: int) -> None:
        """One clip more, with so many frames."""
        self.clips += 1
        self.frames += frames
        self.bar.update()
        now = time.monotonic()
        if self.lines and (now - self.shown >= _PERIOD or self.before + self.clips == self.total):
            print(self.line(now - self.start), file=sys.stderr, flush=True)
            self.shown = now
        elif not self.lines and now - self.shown >= 1:
            self.bar.set_postfix_str(f"{self.frames / (now - self.start):,.0f} frames/s", refresh=False)
            self.shown = now

    def skip(self, clips: int) -> None:
        """Clips that were there before, found later."""
        self.before += clips
        self.bar.update(clips)

    def say(self, text: str) -> None:
        """A line beside the bar."""
        self.bar.write(text, file=sys.stderr)

    def line(self, seconds: float) -> str:
        """The state in words after some seconds of work."""
        done = self.before + self.clips
        speed = self.clips / max(seconds, 1e-9)
        rates = f"{speed:,.1f} clips/s, {self.frames / max(seconds, 1e-9):,.0f} frames/s"
        return f"{done:,} of {self.total:,} clips, {rates}, {duration((self.total - done) / speed)} left"


def duration(seconds: float) -> str:
    """A time to read: `45 s`, `12 min`, `7.5 h` or `3.2 days`.

    Example:
        >>> duration(5400), duration(400000)
        ('90 min', '4.6 days')
    """
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}" if unit == "min" else f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def bytes_text(count: float) -> str:
    """A size to read: `820 bytes`, `45 KB`, `12 MB` or `1,204 GB`.

    Example:
        >>> bytes_text(45_000), bytes_text(3.25e9), bytes_text(1.2e13)
        ('45 KB', '3.2 GB', '12,000 GB')
    """
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("KB", 1e3)):
        if count >= one:
            return f"{count / one:,.0f} {unit}" if count >= 10 * one else f"{count / one:.1f} {unit}"
    return f"{count:.0f} bytes"
