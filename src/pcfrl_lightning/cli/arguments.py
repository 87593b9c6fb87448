"""The parser of the commands that have no configuration."""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

Number = TypeVar("Number", int, float)


class OneLineArguments(argparse.ArgumentParser):
    """A parser whose errors are one line, whose texts keep their lines, and which completes words for the shell."""

    completing = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"formatter_class": argparse.RawDescriptionHelpFormatter, **kwargs})

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        if "_ARGCOMPLETE" in os.environ and not OneLineArguments.completing:
            import argcomplete

            OneLineArguments.completing = True  # argcomplete parses the words that there are by this method
            argcomplete.autocomplete(self)
        return super().parse_known_args(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print the message on standard error and leave with status 2."""
        print(f"{self.prog}: {message} (see `{self.prog} --help`)", file=sys.stderr)
        sys.exit(2)


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Options of every command that loads encoders."""
    parser.add_argument("--weights", metavar="FILE", help="state dict for timm:NAME or torchvision:NAME")
    parser.add_argument("--trust", nargs="+", default=[], metavar="PACKAGE", help="your packages that a file may name")


def number(kind: type[Number], fits: Callable[[Number], bool], wanted: str) -> Callable[[str], Number]:
    """Type of an option: a number that ``fits``; the message for another one says what is ``wanted``."""

    def read(text: str) -> Number:
        with suppress(ValueError):
            if fits(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"{wanted}, got {text!r}")

    return read


positive = number(int, lambda value: value >= 1, "takes a whole number of at least 1")
above_0 = number(float, lambda value: 0 < value < float("inf"), "must be a number above 0")
