"""summary.json of ``pcfrl evaluate``: one entry per task and set of weights, written after each of them."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pcfrl_lightning.checkpoint import file_sha256
from pcfrl_lightning.evaluation.run import Row, Settings
from pcfrl_lightning.probes.results import command, hardware, versions, write_results

_SAME = ("checkpoint_sha256", "feature", "alignment", "options", "epochs", "seed")
"""What all entries of one file share."""


class Summary:
    """The file, with the entries of earlier runs of the same settings.

    Args:
        path: of summary.json.
        settings: of all tasks.
        alignment: that was asked for; each entry has the one of its data set.
        options: of the data sets, ``TASK.KEY=VALUE``; folders are left out.

    Raises:
        ValueError: the file holds results of other settings; names them.
    """

    def __init__(self, path: Path, settings: Settings, alignment: str = "default", options: Sequence[str] = ()) -> None:
        self.path = path
        self.facts: dict[str, Any] = {
            "checkpoint": Path(settings.checkpoint).name,
            "checkpoint_sha256": file_sha256(settings.checkpoint),
            "feature": settings.feature,
            "alignment": alignment,
            "options": [command([option]) for option in options],
            "epochs": settings.epochs,
            "seed": settings.seed,
        }
        self.entries: dict[tuple[str, str], dict[str, Any]] = {}
        if path.is_file():
            self._take_over(json.loads(path.read_text(encoding="utf-8")))

    def add(self, row: Row) -> None:
        """Put one row into the file.  A data set that is absent now does not replace what was measured before."""
        key = row.task.name, row.weights
        if row.status != "absent" or key not in self.entries:
            self.entries[key] = row.summary()
        about = {"hardware": hardware(), "versions": versions(), "command": command(sys.argv)}
        write_results(self.path, self.facts | {"rows": list(self.entries.values())} | about)

    def _take_over(self, stored: dict[str, Any]) -> None:
        if all(row["status"] != "measured" for row in stored["rows"]):
            return  # nothing to lose
        differing = [key for key in _SAME if stored.get(key) != self.facts[key]]
        if differing:
            others = "; ".join(f"{key} {stored.get(key)}, not {self.facts[key]}" for key in differing)
            raise ValueError(f"{self.path.parent} holds results of {others}: give another folder as --out")
        self.entries = {(row["task"], row["weights"]): row for row in stored["rows"]}


def default_folder(checkpoint: str, feature: str, alignment: str | None) -> Path:
    """``runs/evaluate/<file name>-<hash>-<feature>``: most checkpoints are called last.ckpt."""
    parts = [Path(checkpoint).stem, file_sha256(checkpoint)[:8], feature, *([alignment] if alignment else [])]
    return Path("runs/evaluate") / "-".join(parts)
