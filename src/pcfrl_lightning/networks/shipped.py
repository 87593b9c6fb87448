"""Weights that are part of the package: ``pretrained:synthetic``."""

from pathlib import Path

from pcfrl_lightning.errors import UsageError, near

PREFIX = "pretrained:"
FOLDER = Path(__file__).parents[1] / "pretrained"


def names() -> list[str]:
    """What can follow ``pretrained:``."""
    return sorted(path.parent.name for path in FOLDER.glob("*/config.json"))


def folder_of(source: str) -> Path:
    """The exported folder that ``pretrained:NAME`` stands for; a `UsageError` lists the names that there are."""
    name = source.removeprefix(PREFIX)
    if name not in names():
        raise UsageError(f"{source}: no such weights{near(name, names()) or '; there are ' + ', '.join(names())}")
    return FOLDER / name
