"""The parser of the commands that have no configuration."""

import argparse
import os
import sys
from typing import Any, NoReturn


class OneLineArguments(argparse.ArgumentParser):
    """A parser whose errors are one line, and which answers the shell when it asks for completions."""

    completing = False

    def parse_known_args(self, *args: Any, **kwargs: Any) -> Any:
        """As in argparse."""
        if "_ARGCOMPLETE" in os.environ and not OneLineArguments.completing:
            import argcomplete

            OneLineArguments.completing = True  # argcomplete parses the words that there are by this method
            argcomplete.autocomplete(self)
        return super().parse_known_args(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print the message on standard error and leave with status 2."""
        print(f"{self.prog}: {message} (see `{self.prog} --help`)", file=sys.stderr)
        sys.exit(2)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"takes a whole number of at least 1, not {text!r}")
    return int(text)
