"""Data sets of the tasks under one root folder."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pcfrl_lightning.data.cropping.croppers import Cropper, UnsuitableCropping
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.releases.registry import data_class
from pcfrl_lightning.evaluate.tasks import Task
from pcfrl_lightning.probes.results import cropping_of


class Opened(NamedTuple):
    """A data set, and what to know about how it was opened."""

    data: FaceData
    note: str = ""


def folders_of(
    root: Path, cropping: Cropper | None = None, options: Mapping[str, Mapping[str, Any]] | None = None
) -> Callable[[Task], Opened | str]:
    """A function of a task: its data set under ``root``, or what is missing; tasks without own options share one.

    Data sets that ``cropping`` does not suit keep their own, and a note says so.  ``options`` are further arguments of
    the data modules by name of the task; a `cropping` there takes precedence.
    """
    chosen = options or {}

    @cache
    def opened(data: str, folder: Path, task: str) -> Opened:
        return _open(data_class(data), folder, cropping, chosen.get(task, {}))

    def open_data(task: Task) -> Opened | str:
        folder = root / task.folder
        if not folder.exists():
            return f"no folder {folder}"
        return opened(task.data, folder, task.name if task.name in chosen else "")

    return open_data


def _open(kind: type[FaceData], folder: Path, cropping: Cropper | None, options: Mapping[str, Any]) -> Opened:
    own = kind(folder, **options)
    if cropping is None or "cropping" in options:
        return Opened(own)
    if not hasattr(own, "cropping"):
        return Opened(own, f"{kind.name} has no cropping to choose")
    choices: dict[str, Any] = {**options, "cropping": cropping}
    try:
        return Opened(kind(folder, **choices))
    except UnsuitableCropping as error:
        return Opened(own, f"kept {cropping_of(own)}: {error}")
