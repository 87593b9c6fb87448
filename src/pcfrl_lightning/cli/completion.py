"""Completion in the shell, by argcomplete: commands, configs and options.

The shell runs ``pcfrl`` again for every <TAB>. Commands and configs are known without any heavy library, so they come
at once; the options of a command need its parser, which loads PyTorch and takes some seconds.
"""

import argparse
import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pcfrl_lightning.cli.configs import SCHEME, shipped

VARIABLE = "_ARGCOMPLETE"
"""Set by the shell when it asks for completions: 1, the number of the word that the parser begins with."""


def complete(commands: Mapping[str, str], training: str) -> None:
    """Answer the shell, and end.

    ``commands`` are the modules by name; ``training`` is that of the commands which jsonargparse completes by itself.
    """
    import argcomplete

    line = os.environ["COMP_LINE"][: int(os.environ["COMP_POINT"])]
    _, prefix, _, words, _ = argcomplete.lexers.split_line(line)
    name = words[1] if len(words) > 1 else ""
    asked = prefix if prefix.startswith("--config=") else words[-1]
    if name not in commands or asked.split("=")[0] in ("--config", "-c"):
        argcomplete.autocomplete(light_parser(commands), always_complete_options=False)
    elif commands[name] == training:
        import_module(training).run([name])
    else:
        os.environ[VARIABLE] = "2"  # the parser of a command begins with the name of the command
        import_module(commands[name]).main([])


def light_parser(commands: Mapping[str, str]) -> argparse.ArgumentParser:
    """Every command, and ``--config`` of those that take one."""
    parser = argparse.ArgumentParser("pcfrl")
    actions = parser.add_subparsers()
    for name in commands:
        inner: Any = actions.add_parser(name).add_argument("-c", "--config", action="append")
        inner.completer = configs
    return parser


def configs(prefix: str, **_: Any) -> list[str]:
    """Names of shipped configs, and yaml files and folders on the disk."""
    from argcomplete.completers import FilesCompleter

    files = FilesCompleter(("yaml", "yml"))(prefix)
    return [*files, *(f"{SCHEME}{name}" for name in shipped())]
