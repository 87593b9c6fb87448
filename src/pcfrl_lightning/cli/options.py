"""Options of a data set on the command line: ``--option KEY=VALUE``, and ``--option TASK.KEY=VALUE``."""

from argparse import ArgumentError
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from jsonargparse import ArgumentParser

from pcfrl_lightning.cli.messages import summary
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.releases.registry import data_class

if TYPE_CHECKING:
    from pcfrl_lightning.evaluate.tasks import Task

_SET_BY_COMMAND: set[str | int] = {"root", "views", "image_size", "seed"}


def data_options(kind: type[FaceData], given: Sequence[str], prefix: str = "") -> dict[str, Any]:
    """Arguments of a data module, checked against its signature; classes are instantiated.

    ``given`` are `KEY=VALUE` as in a config, such as `camera=right`, or `cropping=LandmarkCrop` and
    `cropping.margin=0.5`; messages put ``prefix`` before a key.
    """
    parser = ArgumentParser(exit_on_error=False)
    keys = parser.add_class_arguments(kind, skip=_SET_BY_COMMAND)
    for text in given:
        key, separator, _ = text.partition("=")
        if not separator:
            raise ValueError(f"--option {prefix}{text}: expected KEY=VALUE")
        if key.partition(".")[0] not in keys:
            raise ValueError(f"--option {prefix}{text}: {kind.name} has no such option; it takes {', '.join(keys)}")
    try:
        parsed = parser.parse_args([f"--{text}" for text in given], defaults=False)
        return dict(parser.instantiate_classes(parsed).as_dict())
    except (ArgumentError, ValueError) as error:
        raise ValueError(f"--option {prefix}{summary(str(error))} (data set {kind.name})") from None


def task_options(given: Sequence[str], tasks: Sequence["Task"]) -> dict[str, dict[str, Any]]:
    """Arguments of the data modules of some tasks, by name of the task, from `TASK.KEY=VALUE`."""
    data = {task.name: task.data for task in tasks}
    texts: dict[str, list[str]] = {}
    for text in given:
        name, separator, rest = text.partition(".")
        if not separator or name not in data:
            raise ValueError(f"--option {text}: expected TASK.KEY=VALUE with a task that is run: {', '.join(data)}")
        texts.setdefault(name, []).append(rest)
    return {name: data_options(data_class(data[name]), each, f"{name}.") for name, each in texts.items()}
