"""Shortens jsonargparse's nested messages to one line: the key, what it takes, and the most similar name."""

import argparse
import inspect
import logging
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn, get_args, get_type_hints

from lightning.pytorch.cli import LightningArgumentParser
from lightning_utilities.core.inheritance import get_all_subclasses

from pcfrl_lightning.errors import near

_HINTS = {
    "Not a valid subclass of Logger": " (a config of configs/probe needs pcfrl:probe/linear before it)",
    "the following arguments are required: root": ": the folder of the data set, such as --data.root FACES",
}
"""What a user most likely forgot, by the reason that jsonargparse gives."""
_GENERIC = ("Subtypes:", "Errors:", "Given value", "Expected a ", "Does not validate", "Problem with", "Parser key")
_TYPES = {"bool": "true or false", "int": "an integer", "float": "a number", "str": "a text", "NoneType": "null"}
_TYPES |= {"tuple": "a list"}
MANY = 12  # classes or choices that are listed


class OneLineParser(LightningArgumentParser):
    """A parser whose errors are one line: the key, what is wrong with it, and where to look."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.allow_abbrev = False  # a truncated key is a typo: `--trainer.max_epo` is not `--trainer.max_epochs`

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Print the summary on standard error and leave with status 2."""
        if not self.exit_on_error:  # a nested parser: the outer one adds its key
            super().error(message, ex)
        line = summary(message, set(_keys(self)))
        program = self.prog.replace(" [options]", "").replace("__main__.py", "pcfrl")  # of `python -m`
        print(f"pcfrl: {line} (see `{program} --help`)", file=sys.stderr)
        sys.exit(2)


def silence_advertisement() -> None:
    """Keep Lightning's log to lines about the run."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(no_advertisement)


def no_advertisement(record: logging.LogRecord) -> bool:
    """Whether a line of Lightning's log is about the run, and not about a product."""
    return "litlogger" not in record.getMessage()


def summary(message: str, keys: Iterable[str] = ()) -> str:
    """Shorten a nested jsonargparse message to ``key.sub_key: reason``; ``keys`` of the parser are for the near miss.

    Example:
        >>> print(summary("Parser key \"data\":\\n  Parser key \"seed\":\\n    Expected a <class 'int'>. Got value: x"))
        data.seed: takes an integer, not 'x'
    """
    key = ".".join(re.findall(r'Parser key "([^"]+)":', message))
    path = (re.findall(r"Problem with given class_path '([^']+)'", message) or [""])[-1]
    owner = _imported(path)
    if option := re.search(r"(?:Option|Key) '([^']+)' is not (?:accepted|expected)", message):
        reason = f"Option '{option[1]}' is not accepted" + (f" by {path.rpartition('.')[2]}" if path else "")
        reason += near(option[1], _parameters(owner) if owner else ())
    elif option := re.search(r"(?:nrecognized arguments: --|does not accept (?:option|nested key) ')([\w.]+)", message):
        if owner:  # the message tells of every type that was tried
            known = near(option[1].split(".")[0], _parameters(owner))
            return f"{key}: Option '{option[1]}' is not accepted by {owner.__name__}{known}"
        parent, _, last = option[1].rpartition(".")
        siblings = [name for name in keys if name.rpartition(".")[0] == parent]
        first = near(option[1].split(".")[0], {key.split(".")[0] for key in keys}, "--")
        reason = message + (near(last, siblings, "--") or first)
    else:
        last = message.rpartition('Parser key "')[2]
        reason = _refused(last, key.rpartition(".")[2], owner) or _reason(message)
    return f"{key}: {reason}" if key and reason != message else reason


def _refused(text: str, key: str, owner: type | None) -> str:
    """``takes X or Y, not 'value'`` for a value of the wrong type; empty for other complaints."""
    given = [re.search(pattern, text) for pattern in (r"Got value: (.*)", r"import path string: (.*)")]
    given += [re.search(r"Given value: (?!NestedArg|Namespace|\{)(.*)", text)]
    value = next((found[1] for found in given if found), None)
    subtypes = re.search(r"Subtypes: \[(.*)\]", text) or re.search(r"Expected an? (.*?)(?:\. Got|$)", text, re.M)
    if value is None or "Expected a" not in text:
        return ""
    hints = _classes(_hints(owner).get(key)) if owner and "import path" in text else ()
    hint = [f"{kind.__module__}.{kind.__qualname__}" for kind in hints if kind.__module__ != "builtins"]
    paths = re.findall(r"<class '([^']+)'>|([\w.]+\.[A-Z]\w+)(?=\])", subtypes[1]) if subtypes else []
    names = list(dict.fromkeys([*hint, *(first or second for first, second in paths)]))
    literals = re.findall(r"Literal\[(.+?)\]", subtypes[1] if subtypes else "")
    choices = list(dict.fromkeys(choice.strip("'") for literal in literals for choice in literal.split(", ")))
    bases = [kind for name in names if "." in name and (kind := _imported(name))]
    kinds = [each for base in bases for each in get_all_subclasses(base) if not inspect.isabstract(each)]
    classes = {each.__name__ for each in kinds if not each.__name__.startswith("_")}
    takes = [_TYPES.get(name, name.rpartition(".")[2]) for name in names if name != "NoneType"] + choices
    if 0 < len(classes) <= MANY and len(bases) == 1:
        takes = [*choices, *sorted(classes)]
    shown = " or ".join(filter(None, [", ".join(takes[:-1]), *takes[-1:]]))
    return f"takes {shown}, not {value!r}{near(value.rpartition('.')[2], {*classes, *choices})}" if shown else ""


def _reason(message: str) -> str:
    """The first line that says something about the value itself."""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    reasons = [line for line in lines if line and not line.startswith(_GENERIC)]
    reason = reasons[0] if reasons else message.splitlines()[0]
    return reason + _HINTS.get(reason.rstrip("."), "")


def _keys(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Dotted keys of a parser and of its subcommands."""
    for action in parser._actions:
        yield from (option.lstrip("-") for option in action.option_strings)
        inner: Any = action.choices
        for each in inner.values() if isinstance(inner, dict) else ():
            yield from _keys(each)


def _imported(path: str) -> type | None:
    module, _, name = path.rpartition(".")
    with suppress(ImportError, AttributeError, ValueError):
        found = getattr(import_module(module), name)
        return found if isinstance(found, type) else None
    return None


def _classes(hint: Any) -> Iterator[type]:
    """Classes in an annotation, wherever it nests them."""
    if isinstance(hint, type) and hint is not type(None):
        yield hint
    for each in get_args(hint):
        yield from _classes(each)


def _hints(kind: type) -> dict[str, Any]:
    """Annotations of all arguments, those of base classes included."""
    hints: dict[str, Any] = {}
    for base in kind.__mro__:
        if (init := vars(base).get("__init__")) and base is not object:
            try:
                hints = get_type_hints(init) | hints
            except (NameError, TypeError):  # annotations of other libraries that exist for type checkers only
                hints = dict.fromkeys(inspect.signature(init).parameters) | hints
    return {name: hint for name, hint in hints.items() if name not in ("self", "return")}


def _parameters(kind: type, nested: bool = True) -> Iterator[str]:
    """Arguments of a class, and of the project's classes that it takes (``backbone.width``)."""
    for name, hint in _hints(kind).items():
        yield name
        if nested:
            for base in _classes(hint):
                for each in (base, *get_all_subclasses(base)):
                    if each.__module__.startswith("pcfrl_lightning"):
                        yield from (f"{name}.{inner}" for inner in _parameters(each, nested=False))
