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

import numpy as np
import pytest
from PIL import Image

from pcfrl_lightning.cli.main import TOOLS, TRAINING
from pcfrl_lightning.cli.training import expand_aliases, run

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += sorted((ROOT / "benchmarks").rglob("README.md"))
CONFIGS = sorted((ROOT / "configs").rglob("*.yaml"))
SAVED = sorted((ROOT / "benchmarks" / "results").rglob("*_config.yaml"))
STANDS_FOR = {"NAME": "fer2013", "...": "", "$SLURM_ARRAY_TASK_ID": "1", "$SLURM_ARRAY_TASK_COUNT": "8"}
"""What a reader puts in place of a word of the page."""


class Parsed(Exception):
    """The command line was read without complaint."""


def commands(path: Path) -> Iterator[str]:
    """Commands in indented or fenced blocks of a page, and in comments of a config; continued lines joined."""
    mark = "#" if path.suffix == ".yaml" else ""
    text = re.sub(rf"\\\n{mark}", "", path.read_text(encoding="utf-8"))
    for line in text.splitlines():
        command = line.removeprefix(mark).strip()
        if command.startswith(("pcfrl ", "python ")) and line.startswith(("#", "    ", "pcfrl", "python")):
            yield command


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
    assert {each.split()[1] for each in found if each.startswith("pcfrl")} >= {
        "fit",
        "test",
        "evaluate",
        "data",
        "bench",
    }
    assert len(found) > 50


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
    elif first == "demo":
        assert not rest
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
    return [path for path in CONFIGS if path.parent.name != "probe" and path.relative_to(ROOT).as_posix() not in named]


@pytest.mark.parametrize("path", other_layers(), ids=lambda path: path.stem)
def test_shipped_layer_is_read_after_the_base(path: Path, stops_after_parsing: None) -> None:
    assert reads(["fit", "--config", "configs/pretrain.yaml", "--config", str(path)]) == 0


@pytest.mark.parametrize("path", SAVED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_saved_config_of_a_result_is_read(path: Path, stops_after_parsing: None) -> None:
    stage = "test" if re.search(r"^verbose:", path.read_text(encoding="utf-8"), re.MULTILINE) else "fit"
    assert reads([stage, "--config", str(path)]) == 0


def test_the_python_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PCFRL_CACHE", str(tmp_path / "cache"))
    (tmp_path / "FACES").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (64, 24, 24, 3), dtype=np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(tmp_path / "FACES" / f"{index}.png")
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## From Python")[2]
    lines = [line for line in section.splitlines() if not line or line.startswith("    ")]
    example = "\n".join(line[4:] for line in lines).partition("pcfrl ")[0]
    names: dict[str, Any] = {}
    exec(example, names)
    assert {name: tuple(value.shape) for name, value in names["features"].items()} == dict.fromkeys(
        ("f_s", "f_f", "f_p"), (8, 32 * 7 * 7)
    )
    assert names["alignment"].shape == (512, 512)
    assert sorted(path.name for path in (tmp_path / "exported").iterdir()) == ["config.json", "model.safetensors"]
