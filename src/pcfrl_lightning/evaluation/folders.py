"""Data sets of the tasks under one root folder."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pcfrl_lightning.data.alignment import Alignment, UnsuitableAlignment
from pcfrl_lightning.data.base import FaceData
from pcfrl_lightning.data.registry import data_class
from pcfrl_lightning.evaluation.tasks import Task
from pcfrl_lightning.probes.results import alignment_of


class Opened(NamedTuple):
    """A data set, and what to know about how it was opened."""

    data: FaceData
    note: str = ""


def folders_of(
    root: Path, alignment: Alignment | None = None, options: Mapping[str, Mapping[str, Any]] | None = None
) -> Callable[[Task], Opened | str]:
    """Data sets under a root folder; tasks without options of their own share one.

    Args:
        root: the folder.
        alignment: how faces are cut out, for the data sets it suits; the others keep their own, and a note says so.
            Default: as each does by itself.
        options: further arguments of the data modules by name of the task; an `alignment` there goes first.

    Returns:
        A function of a task: its data set, or what is missing.
    """
    opened: dict[tuple[str, str, str], Opened] = {}
    chosen = options or {}

    def open_data(task: Task) -> Opened | str:
        folder = root / task.folder
        if not folder.exists():
            return f"no folder {folder}"
        key = task.data, task.folder, task.name if task.name in chosen else ""
        if key not in opened:
            opened[key] = _open(data_class(task.data), folder, alignment, chosen.get(task.name, {}))
        return opened[key]

    return open_data


def _open(kind: type[FaceData], folder: Path, alignment: Alignment | None, options: Mapping[str, Any]) -> Opened:
    own = kind(folder, **options)
    if alignment is None or "alignment" in options:
        return Opened(own)
    if "alignment" not in inspect.signature(kind).parameters:
        return Opened(own, f"{kind.name} has no alignment to choose")
    choices: dict[str, Any] = {**options, "alignment": alignment}
    try:
        return Opened(kind(folder, **choices))
    except UnsuitableAlignment as error:
        return Opened(own, f"kept {alignment_of(own)}: {error}")
