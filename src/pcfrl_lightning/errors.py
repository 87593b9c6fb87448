"""Errors that tell a user what is wrong with the input and how to fix it."""

import difflib
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class DataError(ValueError):
    """A data set, list file or label is not what the loader expects; the message names the file and the fix."""


class UsageError(ValueError):
    """A command or setting that cannot work, or a run that failed; the message says what to change."""


def near(name: str, known: Iterable[str], prefix: str = "") -> str:
    """``; did you mean X?``, or nothing if no name is like it.  Only the last part of a dotted name is compared."""
    by_end = {key.rpartition(".")[2].lower(): key for key in sorted(known, key=lambda key: (-len(key), key))}
    found = difflib.get_close_matches(name.lower(), by_end, n=1) or [end for end in by_end if end.startswith(name)]
    return f"; did you mean {prefix}{by_end[found[0]]}?" if found and name else ""


def one_line(error: BaseException, length: int = 240) -> str:
    """The message of a foreign error in one short line; its type where it has no message."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= length else text[:length] + " ..."


def require(condition: bool, message: str, error: type[Exception] = ValueError) -> None:
    """Raise ``error`` with ``message``, which names the argument or file and its fix, unless the condition holds."""
    if not condition:
        raise error(message)


CTRL_C = 128 + signal.SIGINT
"""Exit status after Ctrl-C."""


class Stopped(SystemExit):
    """The end of a command that a signal asked to end, ``where`` it was; its code, the exit status, is 128 + signal."""

    def __init__(self, number: int, where: str) -> None:
        super().__init__(128 + number)
        self.text = f"stopped by {signal.Signals(number).name} {where}"

    def __str__(self) -> str:
        return self.text


@contextmanager
def on_signals(handle: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    """While it lasts, SIGTERM and Ctrl-C call ``handle``."""
    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
