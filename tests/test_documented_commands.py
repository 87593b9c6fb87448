"""Every command in README, docs and headers of configs has options that exist, and every saved config can be read."""

import argparse
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pcfrl_lightning.cli.main import TOOLS, TRAINING
from pcfrl_lightning.cli.training import expand_aliases, run

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += [*sorted((ROOT / "benchmarks").rglob("README.md")), ROOT / "notebooks" / "README.md"]
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
SAVED = sorted((ROOT / "benchmarks" / "results").rglob("*_config.yaml"))
STANDS_FOR = {"NAME": "fer2013", "...": "", "$SLURM_ARRAY_TASK_ID": "1", "$SLURM_ARRAY_TASK_COUNT": "8"}
"""What a reader puts in place of a word of the page."""
LAUNCHERS = r"(?:torchrun|srun) .*?(?=pcfrl )"
"""What may stand before a command."""


class Parsed(Exception):
    """The command line was read without complaint."""


def commands(path: Path) -> Iterator[str]:
    """Commands in indented or fenced blocks of a page, in the table of all commands, and in comments of a config;
    continued lines joined.
    """
    mark = "#" if path.suffix == ".yaml" else ""
    text = re.sub(rf"\\\n{mark}", "", path.read_text(encoding="utf-8"))
    for line in text.splitlines():
        command = re.sub(rf"^(?:{LAUNCHERS})", "", line.removeprefix(mark).strip())
        begins = ("#", "    ", "pcfrl", "python ", "torchrun", "srun")
        if command.startswith(("pcfrl ", "python ")) and line.startswith(begins):
            yield re.sub(r"\$\{LAST.*", "", command)
        elif path.name in ("cli.md", "getting-started.md") and line.startswith("|"):
            yield from re.findall(r"`(pcfrl [^`]+ (?=[^`]*(?:[A-Z]|--))[^`]+)`", line)


def documented() -> list[Any]:
    found = [(path, command) for path in (*PAGES, *CONFIGS) for command in commands(path)]
    return [pytest.param(each, id=f"{path.name}: {each}"[:80]) for path, each in dict.fromkeys(found)]


def words(command: str) -> list[str]:
    for word, meaning in STANDS_FOR.items():
        command = re.sub(rf"(?<![\w.]){re.escape(word)}(?!\w)", meaning, command)
    return shlex.split(command, comments=True)


@pytest.fixture
def stops_after_parsing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["pcfrl"])
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(self: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        parse(self, *args, **kwargs)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)


def test_there_are_commands() -> None:
    found = [each.values[0] for each in documented()]
    assert {each.split()[1] for each in found if each.startswith("pcfrl")} >= {*TRAINING, *TOOLS} - {"doctor"}
    assert len(found) > 100


def test_every_command_is_in_the_table_of_commands() -> None:
    table = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [name for name in (*TRAINING, *TOOLS) if not re.search(rf"^\| `{name}[` ]", table, re.MULTILINE)] == []


def test_documented_make_targets_and_extras_exist() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?:^|`)(?: {4})?make ([a-z]+)", pages, re.MULTILINE))
    assert {"demo", "test", "docs"} <= targets
    assert [target for target in targets if not re.search(rf"^{target}:", rules, re.MULTILINE)] == []
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    extras = re.findall(r"^(\w+) = \[", section, re.MULTILINE)
    named = re.findall(r"pip install[^\n`]*\[([a-z,]+)\]", pages)
    assert {name for group in named for name in group.split(",")} <= set(extras)
    table = (ROOT / "docs" / "getting-started.md").read_text(encoding="utf-8")
    assert [extra for extra in extras if f"`{extra}`" not in table] == []


@pytest.mark.parametrize("command", documented())
def test_documented_command_is_understood(command: str, stops_after_parsing: None) -> None:
    program, first, *rest = words(command)
    if program == "python":
        sys.argv = [first, *rest]
        main = runpy.run_path(first)["main"]
        with pytest.raises(Parsed):
            main(rest) if main.__code__.co_argcount else main()
    elif first in TRAINING:
        assert reads([first, *rest]) == 0
    elif first in ("demo", "--help"):
        assert not rest
    elif first in ("ablate", "sweep"):  # what the file says is read by tests/sweeps
        command = import_module(TOOLS[first][0])
        options, further = command.command_parser().parse_known_args(rest)
        assert command.read(options.file)[1]
        assert not further or reads(["fit", "--config", "configs/pretrain.yaml", *further]) == 0
    else:
        with pytest.raises(Parsed):
            import_module(TOOLS[first][0]).main(rest)


def reads(arguments: list[str]) -> Any:
    """Exit status of a training command that only prints its configuration."""
    with pytest.raises(SystemExit) as end:
        run([*expand_aliases(arguments), "--print_config"])
    return end.value.code


def other_layers() -> list[Path]:
    """Configs that no command names, except those that tests/cli/test_probe_configs.py runs."""
    named = " ".join(each.values[0] for each in documented())
    known = ("probe", "ablation", "sweeps")
    return [
        path for path in CONFIGS if path.parent.name not in known and path.relative_to(ROOT).as_posix() not in named
    ]


@pytest.mark.parametrize("path", other_layers(), ids=lambda path: path.stem)
def test_shipped_layer_is_read_after_the_base(path: Path, stops_after_parsing: None) -> None:
    assert reads(["fit", "--config", "configs/pretrain.yaml", "--config", str(path)]) == 0


@pytest.mark.parametrize("path", SAVED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_saved_config_of_a_result_is_read(path: Path, stops_after_parsing: None) -> None:
    stage = "test" if re.search(r"^verbose:", path.read_text(encoding="utf-8"), re.MULTILINE) else "fit"
    assert reads([stage, "--config", str(path)]) == 0
