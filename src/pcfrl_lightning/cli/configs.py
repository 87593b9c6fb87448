"""The configs that ship with the package: ``--config pcfrl:pretrain`` stands for ``configs/pretrain.yaml``."""

from pathlib import Path

from pcfrl_lightning.errors import UsageError, near

FOLDER = Path(__file__).parents[1] / "configs"  # in a checkout a link to the folder at the top
SCHEME = "pcfrl:"
NO_LAYERS = ("ablation", "sweeps")
"""Folders of files for other commands, `pcfrl ablate` and `pcfrl sweep`."""


def shipped() -> list[str]:
    """Names of all configs of `pcfrl fit`, such as ``method/pcl``."""
    layers = (path for path in FOLDER.rglob("*.yaml") if path.parent.name not in NO_LAYERS)
    return sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in layers)


def config_path(value: str) -> str:
    """The file behind the value of ``--config``; a path (or yaml text) is returned as it is.

    A UsageError names the config that is nearest to one that does not exist.
    """
    names = shipped()
    if value.startswith(SCHEME):
        name = value[len(SCHEME) :].removesuffix(".yaml").removesuffix(".yml")
        if name in names:
            return str(FOLDER / f"{name}.yaml")
        raise UsageError(f"--config {value}: no such config{near(name, names)}; there are {', '.join(names)}")
    is_path = Path(value).suffix in ("", ".yaml", ".yml") and ":" not in value and value != "-"
    if is_path and not Path(value).exists():
        found = near(Path(value).with_suffix("").as_posix().removeprefix("configs/"), names, SCHEME)
        raise UsageError(f"--config {value} does not exist{found}")
    return value


def with_config_paths(arguments: list[str]) -> list[str]:
    """A command line in which ``--config`` and ``-c`` name files."""
    found = list[str]()
    for previous, argument in zip(["", *arguments], arguments, strict=False):
        if previous in ("--config", "-c"):
            argument = config_path(argument)
        elif argument.startswith("--config="):
            argument = f"--config={config_path(argument.removeprefix('--config='))}"
        found.append(argument)
    return found
