"""One line out of jsonargparse's nested account of everything it tried."""

import argparse
import re
import sys
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

_GENERIC = (
    "Expected a <class 'NoneType'>",
    "Does not validate against any",
    "Problem with given class_path",
    "Parser key",
)


_HINTS = {
    "Not a valid subclass of Logger": " (a config of configs/probe needs configs/probe/linear.yaml before it)",
    "the following arguments are required: root": ": the folder of the data set, such as --data.root FACES",
}
"""What a user most likely forgot, by the reason that jsonargparse gives."""


class OneLineParser(LightningArgumentParser):
    """A parser whose errors are one line: the key, what is wrong with it, and where to look."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.allow_abbrev = False  # a truncated key is a typo: `--trainer.max_epo` is not `--trainer.max_epochs`

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the summary on standard error and leave with status 2."""
        if not self.exit_on_error:  # a nested parser: the outer one adds its key
            super().error(message, ex)
        print(f"pcfrl: {summary(message)} (see `{self.prog.replace(' [options]', '')} --help`)", file=sys.stderr)
        sys.exit(2)


class OneLineArguments(argparse.ArgumentParser):
    """The same for the commands that have no configuration."""

    def error(self, message: str) -> NoReturn:
        """Print the message on standard error and leave with status 2."""
        print(f"{self.prog}: {message} (see `{self.prog} --help`)", file=sys.stderr)
        sys.exit(2)


def summary(message: str) -> str:
    """Shorten a nested jsonargparse message to ``key.sub_key: reason``.

    Example:
        >>> print(summary('Parser key "model":\\n  Errors:\\n    - Parser key "size":\\n        Expected a number'))
        model.size: Expected a number
    """
    keys: list[str] = []
    accepts = ""
    for line in message.splitlines():
        text = line.strip().removeprefix("- ")
        if key := re.match(r'Parser key "([^"]+)":', text):
            keys.append(key[1])
        if cls := re.match(r"Problem with given class_path '([^']+)'", text):
            accepts = cls[1].rpartition(".")[2]
    reason = _reason(message)
    if accepts and "is not accepted" in reason:
        reason += f" by {accepts}"
    return ": ".join([".".join(keys), reason]) if keys and reason != message else reason


def _reason(message: str) -> str:
    """The first line that says something about the value itself."""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    skipped = ("Subtypes:", "Errors:", "Given value", *_GENERIC)
    reasons = [line for line in lines if line and not line.startswith(skipped)]
    reason = reasons[0] if reasons else message
    if choices := re.search(r"Expected a typing.Literal\[(.+?)\]", reason):
        return f"Expected one of {choices[1]}"
    return reason + _HINTS.get(reason.rstrip("."), "")
