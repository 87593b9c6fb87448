"""summary.json of ``pcfrl evaluate``: one entry per task and set of weights, written after each of them."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pcfrl_lightning.evaluate.run import Row, Settings
from pcfrl_lightning.networks.checkpoint import file_sha256
from pcfrl_lightning.probes.results import command, hardware, versions, write_results

_SAME = ("checkpoint_sha256", "feature", "cropping", "epochs", "seed")
"""What all entries of one file share."""


class Summary:
    """The file, with the entries of earlier runs of the same settings.

    Args:
        path: of summary.json.
        settings: of all tasks.
        cropping: that was asked for; each entry has the one of its data set.
        options: of the data sets, ``TASK.KEY=VALUE``; folders are left out.
        tasks: names of those that are run.

    Raises:
        ValueError: the file holds results of other settings, or of a task that is run with other options; names them.
            Or it is no such file.
    """

    def __init__(
        self,
        path: Path,
        settings: Settings,
        cropping: str = "default",
        options: Sequence[str] = (),
        tasks: Sequence[str] = (),
    ) -> None:
        self.path = path
        self.facts: dict[str, Any] = {
            "checkpoint": Path(settings.checkpoint).name,
            "checkpoint_sha256": file_sha256(settings.checkpoint),
            "feature": settings.feature,
            "cropping": cropping,
            "options": [command([option]) for option in options],
            "epochs": settings.epochs,
            "seed": settings.seed,
        }
        self.entries: dict[tuple[str, str], dict[str, Any]] = {}
        if path.is_file():
            try:
                stored = json.loads(path.read_text(encoding="utf-8"))
                entries = {(row["task"], row["weights"]): row for row in stored["rows"]}
                measured = [row for row in entries.values() if row["status"] == "measured"]
            except (ValueError, LookupError, TypeError):
                raise ValueError(f"{path} is no summary of pcfrl evaluate: remove it, or give another --out") from None
            if measured:  # else there is nothing to lose
                self._check(stored, measured, tasks)
                self.entries = entries

    def add(self, row: Row) -> None:
        """Put one row into the file.  A data set that is absent now does not replace what was measured before."""
        key = row.task.name, row.weights
        if row.status != "absent" or key not in self.entries:
            self.entries[key] = row.summary() | {"options": self._options(row.task.name)}
        about = {"hardware": hardware(), "versions": versions(), "command": command(sys.argv)}
        write_results(self.path, self.facts | {"rows": list(self.entries.values())} | about)

    def _options(self, task: str) -> list[str]:
        return sorted(option for option in self.facts["options"] if option.startswith(f"{task}."))

    def _check(self, stored: dict[str, Any], measured: Sequence[dict[str, Any]], tasks: Sequence[str]) -> None:
        differing = [(key, stored.get(key), self.facts[key]) for key in _SAME if stored.get(key) != self.facts[key]]
        again = {row["task"]: row.get("options", []) for row in measured if row["task"] in tasks}
        differing += [
            (f"options of {task}", there, self._options(task))
            for task, there in again.items()
            if there != self._options(task)
        ]
        if differing:
            others = "; ".join(f"{key} {there}, not {here}" for key, there, here in differing)
            raise ValueError(f"{self.path.parent} holds results of {others}: give another folder as --out")


def default_folder(checkpoint: str, feature: str, cropping: str | None) -> Path:
    """``runs/evaluate/<file name>-<hash>-<feature>``: most checkpoints are called last.ckpt."""
    parts = [Path(checkpoint).stem, file_sha256(checkpoint)[:8], feature, *([cropping] if cropping else [])]
    return Path("runs/evaluate") / "-".join(parts)
