"""The figures of a run: of its log, or of a probe of its last checkpoint."""

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pcfrl_lightning.errors import UsageError, near
from pcfrl_lightning.evaluate.tasks import TASKS

GOALS = ("maximize", "minimize")


class Metric(NamedTuple):
    """What runs are compared by."""

    name: str  # of a column of metrics.csv such as monitor/knn_accuracy, or of a task of `pcfrl evaluate`
    goal: str  # one of `GOALS`
    percent: bool  # whether it is a share, which tables show in percent

    @property
    def is_task(self) -> bool:
        """Whether a probe measures it after the training."""
        return "/" not in self.name

    @property
    def label(self) -> str:
        return f"{self.name}, %" if self.percent else self.name

    @property
    def sign(self) -> int:
        """1 if larger is better, else -1."""
        return 1 if self.goal == "maximize" else -1

    def shown(self, value: float) -> float:
        """The value in the unit of the tables."""
        return 100 * value if self.percent else value


def metric(name: str, goal: str | None = None) -> Metric:
    """A metric by name; a task knows its goal, and a column of the log is maximized unless it is told.

    A UsageError for an unknown task or goal names the known ones.
    """
    if goal not in (None, *GOALS):
        raise UsageError(f"metric {name}: the goal must be maximize or minimize, got {goal!r}")
    if "/" in name:
        return Metric(name, goal or "maximize", name.endswith(("accuracy", "_f1", "share")))
    found = next((task for task in TASKS if task.name == name), None)
    if found is None:
        known = [task.name for task in TASKS]
        hint = near(name, known) or f"; tasks are {', '.join(known)}"
        raise UsageError(f"metric {name}: neither a column of the log, which has a '/', nor a task{hint}")
    return Metric(name, "minimize" if found.lower_is_better else "maximize", found.unit == "%")


def asked(texts: Sequence[str]) -> list[Metric]:
    """Metrics of the command line, ``NAME`` or ``NAME=minimize``."""
    parts = [text.partition("=") for text in texts]
    return [metric(name, goal if equals else None) for name, equals, goal in parts]


def history(folder: Path, name: str) -> list[float]:
    """All values of a column of the log by epoch, those of the parts of an interrupted run in one list."""
    values: dict[Any, float] = {}
    for path in sorted(folder.glob("version_*/metrics.csv"), key=_version):
        written = path.read_text(encoding="utf-8")
        for line in csv.DictReader(written[: written.rfind("\n") + 1].splitlines()):  # the last may be written in part
            if text := line.get(name):
                values[line.get("epoch") or len(values)] = float(text)
    return list(values.values())


def measured(folder: Path, metrics: Sequence[Metric]) -> dict[str, float]:
    """The last value of each metric of a run that has ended; UsageError if one was not measured or is not finite."""
    found: dict[str, float] = {}
    probed = _probed(folder)
    for each in metrics:
        row = probed.get(each.name, {})
        values = [row["value"]] if row.get("status") == "measured" else history(folder, each.name)
        if not values or not math.isfinite(values[-1]):
            raise UsageError(f"{each.name} {'is not finite' if values else _missing(folder, each)}")
        found[each.name] = values[-1]
    return found


def newest_part(folder: Path) -> Path | None:
    """Checkpoint that a run was interrupted or ended with; its log has a folder for each part."""
    found = sorted(folder.glob("version_*/checkpoints/last.ckpt"), key=lambda path: _version(path.parent))
    return found[-1] if found else None


def _version(path: Path) -> int:
    number = path.parent.name.rpartition("_")[2]
    return int(number) if number.isdigit() else -1


def _probed(folder: Path) -> dict[str, dict[str, Any]]:
    """Rows of the final probes by task; none of a file that `pcfrl evaluate` did not write, which it refuses."""
    try:
        rows = json.loads((folder / "evaluate" / "summary.json").read_text(encoding="utf-8"))["rows"]
        found = {row["task"]: row for row in rows if row["weights"] == "pretrained"}
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return {task: row for task, row in found.items() if row.keys() >= {"status", "value", "message"}}


def unmeasured(folder: Path) -> str:
    """Why a final probe has no figure; empty if there is none such."""
    rows = [row for row in _probed(folder).values() if row["status"] != "measured"]
    return "; ".join(f"{row['task']}: {row['message']}" for row in rows)


def _missing(folder: Path, wanted: Metric) -> str:
    if wanted.is_task:
        return f"was not measured: {_probed(folder).get(wanted.name, {}).get('message') or folder / 'log.txt'}"
    columns: set[str] = set()
    for path in folder.glob("version_*/metrics.csv"):
        columns |= set(path.read_text(encoding="utf-8").partition("\n")[0].strip().split(","))
    monitor = "; OnlineMonitor logs it, see pcfrl:experiment/fer2013" if wanted.name.startswith("monitor/") else ""
    return f"is not in the log{near(wanted.name, columns) or monitor}"
