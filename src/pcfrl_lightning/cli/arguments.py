"""The parser of the commands that have no configuration."""

import argparse
import sys
from typing import NoReturn


class OneLineArguments(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Print the message on standard error and leave with status 2."""
        print(f"{self.prog}: {message} (see `{self.prog} --help`)", file=sys.stderr)
        sys.exit(2)
