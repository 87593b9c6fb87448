"""Run probes for an encoder over a table of tasks; an absent data set is a row of its own."""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.errors import DataError, require
from pcfrl_lightning.evaluate.folders import Opened
from pcfrl_lightning.evaluate.tasks import Task
from pcfrl_lightning.probes.features.extract import Precision
from pcfrl_lightning.probes.results import blocks
from pcfrl_lightning.probes.run import EPOCHS, measure

RESULT_FILES = ("results.json", "report.txt", "traceback.txt")

Weights = Literal["pretrained", "random_init"]
Status = Literal["measured", "absent", "failed"]
Announce = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What all tasks share."""

    checkpoint: str  # the encoder, whatever `load_encoder` takes; gives the architecture of the untrained one, too
    out: Path  # each task writes <out>/<task>/<weights>/results.json there
    feature: str | tuple[str, ...] = "f_s"  # one or several, measured in one pass over the images
    epochs: int = EPOCHS  # of the linear probes, at least 1
    seed: int = 0  # of heads, order and the untrained network
    cache_dir: Path | None = None  # of the cached features; default <out>/features
    progress: bool = True  # on standard error
    accelerator: str = "auto"  # of the Lightning trainer
    weights: str | None = None  # state dict of timm:NAME or torchvision:NAME
    trust: tuple[str, ...] = ()  # packages of the user whose classes a checkpoint may name
    name: str = ""  # of the encoder in the table
    precision: Precision = "auto"  # of the extraction, as of `Probe`

    def __post_init__(self) -> None:
        require(self.epochs >= 1, f"epochs must be at least 1, got {self.epochs}")

    @property
    def features(self) -> tuple[str, ...]:
        """All features, also where there is only one."""
        return (self.feature,) if isinstance(self.feature, str) else self.feature

    def title(self, weights: Weights) -> str:
        """What the table calls the weights: a file that the user gave may hold any."""
        given = Path(self.weights).name if self.weights else "pretrained"
        return given if weights == "pretrained" else "random init"


@dataclass
class Row:
    """One task for one feature under one set of weights."""

    task: Task
    weights: Weights
    status: Status  # absent: no such folder; failed: `message` says why
    results: dict[str, Any] = field(default_factory=dict)  # of results.json, the metrics of this feature; or empty
    message: str = ""  # why there is no figure, or how the data set was opened where that is not as asked
    seconds: float = 0.0  # wall-clock time; that of all features together
    feature: str = "f_s"
    source: str = ""  # name of the encoder
    title: str = "pretrained"  # what the table calls the weights

    @property
    def value(self) -> float | None:
        """The task's figure after the last epoch; None where there is none."""
        return float(self.results["metrics"]["last"][self.task.metric]) if self.results else None

    def summary(self) -> dict[str, Any]:
        """Primitives for the summary file."""
        shown: dict[str, Any] = {"task": self.task.name, "dataset": self.task.data, "weights": self.weights}
        shown |= {"weights_name": self.title}
        shown |= {"feature": self.feature, "status": self.status, "metric": self.task.metric, "value": self.value}
        shown |= {"lower_is_better": self.task.lower_is_better, "cropping": self.results.get("cropping")}
        shown["precision"] = self.results.get("features", {}).get("precision")
        return shown | {"message": self.message, "seconds": round(self.seconds, 1)}


def run_task(task: Task, data: FaceData, weights: Weights, settings: Settings) -> dict[str, Any]:
    """Fit (where there is something to fit) and test one probe; its report goes to ``report.txt`` beside the results.

    ``data`` can be shared by several calls.  Returns the content of results.json.
    """
    folder = settings.out / task.name / weights
    options: dict[str, Any] = {"lr": list(task.lr)} if task.lr else {}
    probe = task.probe(
        checkpoint=settings.checkpoint,
        baseline="random" if weights == "random_init" else None,
        feature=list(settings.features),
        weights=settings.weights if weights == "pretrained" else None,
        trust=list(settings.trust),
        precision=settings.precision,
        image_size=task.image_size,
        cache_dir=str(settings.cache_dir or settings.out / "features"),
        seed=settings.seed,
        **options,
    )
    return measure(probe, data, settings.epochs, folder, settings.accelerator, settings.progress)


def silent(_: object) -> None:
    """Announce nothing."""


def run_tasks(
    tasks: Sequence[Task],
    weights: Sequence[Weights],
    settings: Settings,
    open_data: Callable[[Task], Opened | str],
    announce: Announce = silent,
) -> Iterator[Row]:
    """All tasks for all sets of weights, each row as soon as it is known; one that fails does not stop the others.

    ``open_data`` gives the data set of a task, or, where it is absent, what is missing; ``announce`` is told what
    begins.
    """
    for task in tasks:
        opened: Opened | str | Exception
        try:
            opened = open_data(task)
        except Exception as error:
            opened = error
        for each in weights:
            if isinstance(opened, Opened):
                shown = ", ".join(filter(None, [settings.name, *settings.features, settings.title(each)]))
                announce(f"{task.name}: {shown}")
            yield from _rows(task, opened, each, settings)


def _rows(task: Task, opened: Opened | str | Exception, weights: Weights, settings: Settings) -> Iterator[Row]:
    """One row for each feature."""
    folder = settings.out / task.name / weights
    status: Status = "absent" if isinstance(opened, str) else "failed"
    message, results, started = str(opened), {}, time.perf_counter()
    if not isinstance(opened, str):
        for name in RESULT_FILES:  # results of an earlier run must not remain when this one fails
            (folder / name).unlink(missing_ok=True)
        try:
            if isinstance(opened, Exception):
                raise opened
            results = run_task(task, opened.data, weights, settings)
            status, message = "measured", "; ".join(filter(None, [opened.note, *_remarks(results)]))
        except Exception as error:
            message = _reason(error, folder)
    seconds = time.perf_counter() - started if isinstance(opened, Opened) else 0.0
    found = blocks(results) if results else {}
    for feature in settings.features:
        each = results | found[feature] if found else {}
        yield Row(task, weights, status, each, message, seconds, feature, settings.name, settings.title(weights))


def _remarks(results: dict[str, Any]) -> list[str]:
    """Sets in which the detector does not find every face, and a head that had nothing to learn from."""
    counts = results["data"].get("faces_found", {})
    single = results["splits"].get("train", {}).get("images") == 1
    alone = ["trained on one image, so the figure says nothing"] if single else []
    return alone + [
        f"a face is found in {count['found']} of {count['of']} images looked at in {name}; the others are whole images"
        for name, count in counts.items()
        if count["found"] < count["of"]
    ]


def _reason(error: Exception, folder: Path) -> str:
    """``Type: message`` in one line; the traceback of an unexpected error is kept."""
    kind, text = type(error).__name__, str(error)
    if "DataLoader worker" in text:  # torch puts the traceback before what was said
        text = text.rpartition(f"{kind}: ")[2]
    shown = f"{kind}: " + text.strip().partition("\n")[0]
    if isinstance(error, (DataError, FileNotFoundError, ValueError)):
        return shown
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / "traceback.txt"
    place.write_text("".join(traceback.format_exception(error)), encoding="utf-8", errors="backslashreplace")
    return f"{shown} (see {place})"
