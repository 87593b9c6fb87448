"""summary.json of ``pcfrl evaluate``: one entry per task, feature and set of weights, written after each of them."""

import csv
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pcfrl_lightning.evaluate.run import Row, Settings
from pcfrl_lightning.files import file_sha256
from pcfrl_lightning.networks import shipped
from pcfrl_lightning.networks.encoder import LIBRARIES
from pcfrl_lightning.networks.stored import locate
from pcfrl_lightning.probes.results import command, hardware, versions, write_results

_SAME = ("checkpoint_sha256", "feature", "cropping", "epochs", "seed", "precision")
"""What all entries of one file share."""


class Summary:
    """The file, with the entries of earlier runs of the same settings; a ValueError names what differs.

    ``options`` are those of the data sets, ``TASK.KEY=VALUE``, from which folders are left out; ``tasks`` are run now.
    """

    def __init__(
        self, path: Path, settings: Settings, cropping: str, options: Sequence[str], tasks: Sequence[str]
    ) -> None:
        self.path = path
        self.facts: dict[str, Any] = {
            "checkpoint": Path(settings.checkpoint).name,
            "checkpoint_sha256": source_sha256(settings.checkpoint, settings.weights),
            "encoder": settings.name or source_name(settings.checkpoint),
            "feature": settings.features[0] if len(settings.features) == 1 else list(settings.features),
            "cropping": cropping,
            "options": [command([option]) for option in options],
            "epochs": settings.epochs,
            "seed": settings.seed,
            "precision": settings.precision,
        }
        self.entries: dict[tuple[str, str, str], dict[str, Any]] = {}
        if path.is_file():
            try:
                stored = json.loads(path.read_text(encoding="utf-8"))
                named = stored.get("feature", "f_s")  # earlier versions measured one feature and did not repeat it
                entries = {(row["task"], row["weights"], row.get("feature", named)): row for row in stored["rows"]}
                measured = [row for row in entries.values() if row["status"] == "measured"]
            except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
                raise ValueError(f"{path} is no summary of pcfrl evaluate: remove it, or give another --out") from None
            if measured:  # otherwise no result is lost
                self._check(stored, measured, tasks)
                self.entries = entries

    def add(self, row: Row) -> None:
        """Put one row into the file.  A data set that is absent now does not replace what was measured before."""
        key = row.task.name, row.weights, row.feature
        if row.status != "absent" or key not in self.entries:
            self.entries[key] = row.summary() | {"options": self._options(row.task.name)}
        about = {"hardware": hardware(), "versions": versions(), "command": command(sys.argv)}
        write_results(self.path, self.facts | {"rows": list(self.entries.values())} | about)

    def _options(self, task: str) -> list[str]:
        return sorted(option for option in self.facts["options"] if option.startswith(f"{task}."))

    def _check(self, stored: dict[str, Any], measured: Sequence[dict[str, Any]], tasks: Sequence[str]) -> None:
        stored = {"precision": "auto"} | stored  # the only one there was in earlier versions
        compared = [(key, stored.get(key), self.facts[key]) for key in _SAME]
        again = {row["task"]: row.get("options", []) for row in measured if row["task"] in tasks}
        compared += [(f"options of {task}", there, self._options(task)) for task, there in again.items()]
        others = "; ".join(f"{key} {there}, not {here}" for key, there, here in compared if there != here)
        if others:
            raise ValueError(f"{self.path.parent} holds results of {others}: give another folder as --out")


def write_csv(path: Path, summaries: Iterable[Summary]) -> None:
    """All entries of some encoders: a line per encoder, weights and feature, a column per task.

    Figures are as in summary.json: shares in [0, 1], errors in their unit.
    """
    lines: dict[tuple[str, str, str], dict[str, Any]] = {}
    for summary in summaries:
        for (_, weights, feature), entry in summary.entries.items():
            key = summary.facts["encoder"], entry.get("weights_name", weights), feature
            line = lines.setdefault(key, dict(zip(("encoder", "weights", "feature"), key, strict=True)))
            line[f"{entry['task']} {entry['metric']}"] = entry["value"]
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.DictWriter(file, dict.fromkeys(column for line in lines.values() for column in line))
        writer.writeheader()
        writer.writerows(lines.values())


def source_name(source: str) -> str:
    """Short name of an encoder for tables and folders: most checkpoints are called last.ckpt, so the folder of the run
    goes first.

    Example:
        >>> source_name("runs/pretrain/version_3/checkpoints/last.ckpt"), source_name("timm:resnet18.a1_in1k")
        ('pretrain-version_3-last', 'timm-resnet18.a1_in1k')
    """
    library, colon, model = source.partition(":")
    if colon and library in (*LIBRARIES, shipped.PREFIX.rstrip(":")):
        return f"{library}-{model.replace('/', '-')}"
    path = Path(source)
    folders = [part for part in path.resolve().parts[1:-1] if part not in ("checkpoints", "runs")]
    run = path.parent.name == "checkpoints"
    stem = path.stem if path.suffix in (".ckpt", ".pth", ".pt", ".safetensors") else path.name
    general = re.fullmatch(r"last.*|best.*|model|epoch=.*|version_\d+", stem) is not None
    return "-".join([*(folders[-2:] if run else folders[-1:] if general else []), stem])


def source_sha256(source: str, weights: str | None = None) -> str:
    """SHA-256 that stands for an encoder: of the file of its weights, else of the name of a library's model."""
    path = Path(weights) if weights else locate(source)
    return file_sha256(path) if path.is_file() else hashlib.sha256(source.encode()).hexdigest()


def default_folder(settings: Settings, cropping: str | None) -> Path:
    """``runs/evaluate/<name>-<hash>-<features>``, and what is not the default: cropping, precision."""
    short = source_sha256(settings.checkpoint, settings.weights)[:8]
    parts = [source_name(settings.checkpoint), short, *settings.features, *([cropping] if cropping else [])]
    parts += [settings.precision] if settings.precision != "auto" else []
    return Path("runs/evaluate") / "-".join(parts)
