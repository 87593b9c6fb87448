"""Run probes for a checkpoint over a table of tasks; an absent data set is a row of the result, not a gap."""

import contextlib
import logging
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import lightning as L
from lightning.pytorch.callbacks import ProgressBar

from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.evaluate.folders import Opened
from pcfrl_lightning.evaluate.tasks import Task
from pcfrl_lightning.networks.checkpoint import read_checkpoint

EPOCHS = 300
"""Of every linear probe (method section 9)."""

RESULT_FILES = ("results.json", "report.txt", "traceback.txt")

Weights = Literal["pretrained", "random_init"]
Status = Literal["measured", "absent", "failed"]
Announce = Callable[[str], None]
Record = Callable[["Row"], None]


@dataclass
class Row:
    """One task under one set of weights.

    Attributes:
        task: the row of the table.
        weights: of the checkpoint, or untrained in the same architecture.
        status: ``absent``: no such folder; ``failed``: ``message`` says why.
        results: what the probe wrote to results.json; empty unless measured.
        message: why there is no figure, or how the data set was opened where that is not as asked.
        seconds: wall-clock time.
    """

    task: Task
    weights: Weights
    status: Status
    results: dict[str, Any] = field(default_factory=dict)
    message: str = ""
    seconds: float = 0.0

    @property
    def value(self) -> float | None:
        """The task's figure after the last epoch; None where there is none."""
        return float(self.results["metrics"]["last"][self.task.metric]) if self.results else None

    def summary(self) -> dict[str, Any]:
        """Primitives for the summary file."""
        shown: dict[str, Any] = {
            "task": self.task.name,
            "dataset": self.task.data,
            "weights": self.weights,
            "status": self.status,
        }
        shown |= {"metric": self.task.metric, "value": self.value, "lower_is_better": self.task.lower_is_better}
        shown |= {"cropping": self.results.get("cropping")}
        return shown | {"message": self.message, "seconds": round(self.seconds, 1)}


@dataclass(frozen=True)
class Settings:
    """What all tasks share.

    Attributes:
        checkpoint: file of the pretrained network; gives the architecture of the untrained one, too.
        out: folder; each task writes ``<out>/<task>/<weights>/results.json`` there.
        feature: feature of the network.
        epochs: of the linear probes, at least 1.
        seed: of heads, order and the untrained network.
        cache_dir: folder of the cached features; default ``<out>/features``.
        progress: show progress on standard error.
        accelerator: of the Lightning trainer.
    """

    checkpoint: str
    out: Path
    feature: str = "f_s"
    epochs: int = EPOCHS
    seed: int = 0
    cache_dir: Path | None = None
    progress: bool = True
    accelerator: str = "auto"

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1, got {self.epochs}")
        read_checkpoint(self.checkpoint)


class ExtractionOnly(ProgressBar):
    """Shows the progress of feature extraction, which looks for a progress bar, and is silent in training."""

    def disable(self) -> None:
        """Nothing to switch off."""

    def enable(self) -> None:
        """Nothing to switch on."""


def run_task(task: Task, data: FaceData, weights: Weights, settings: Settings) -> dict[str, Any]:
    """Fit (where there is something to fit) and test one probe; its report goes to ``report.txt`` beside the results.

    Args:
        task: what to measure.
        data: its data set; can be shared by several calls.
        weights: pretrained or untrained.
        settings: the rest.

    Returns:
        The content of results.json.
    """
    folder = settings.out / task.name / weights
    folder.mkdir(parents=True, exist_ok=True)
    options: dict[str, Any] = {"lr": list(task.lr)} if task.lr else {}
    probe = task.probe(
        checkpoint=settings.checkpoint,
        baseline="random" if weights == "random_init" else None,
        feature=settings.feature,
        image_size=task.image_size,
        cache_dir=str(settings.cache_dir or settings.out / "features"),
        seed=settings.seed,
        **options,
    )
    with _quiet():
        trainer = L.Trainer(
            max_epochs=settings.epochs,
            accelerator=settings.accelerator,
            devices=1,
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[ExtractionOnly()] if settings.progress else [],
            enable_progress_bar=settings.progress,
        )
    with (folder / "report.txt").open("w") as report, contextlib.redirect_stdout(report), _quiet():
        if probe.task.trained:
            L.seed_everything(settings.seed, verbose=False)
            trainer.fit(probe, datamodule=data)
        trainer.test(probe, datamodule=data, verbose=False)
    return probe.results


def silent(_: object) -> None:
    """Announce and record nothing."""


def run_tasks(
    tasks: Sequence[Task],
    weights: Sequence[Weights],
    settings: Settings,
    open_data: Callable[[Task], Opened | str],
    announce: Announce = silent,
    record: Record = silent,
) -> list[Row]:
    """All tasks for all sets of weights; one that fails, for whatever reason, does not stop the others.

    Args:
        tasks: the table.
        weights: which columns to measure.
        settings: the rest.
        open_data: the data set of a task, or, where it is absent, what is missing.
        announce: told what begins.
        record: given every row when it is known.
    """
    rows = []
    for task in tasks:
        opened: Opened | str | Exception
        try:
            opened = open_data(task)
        except Exception as error:
            opened = error
        for each in weights:
            if isinstance(opened, Opened):
                announce(f"{task.name}: {settings.feature}, {each.replace('_', ' ')}")
            rows.append(_row(task, opened, each, settings))
            record(rows[-1])
    return rows


def _row(task: Task, opened: Opened | str | Exception, weights: Weights, settings: Settings) -> Row:
    if isinstance(opened, str):
        return Row(task, weights, "absent", message=opened)
    for name in RESULT_FILES:  # of an earlier run: they must not outlive a failure of this one
        (settings.out / task.name / weights / name).unlink(missing_ok=True)
    if isinstance(opened, Exception):
        return Row(task, weights, "failed", message=_reason(opened, settings.out / task.name / weights))
    started = time.perf_counter()
    try:
        results = run_task(task, opened.data, weights, settings)
        message = "; ".join(filter(None, [opened.note, *_remarks(results)]))
        row = Row(task, weights, "measured", results, message)
    except Exception as error:
        row = Row(task, weights, "failed", message=_reason(error, settings.out / task.name / weights))
    row.seconds = time.perf_counter() - started
    return row


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
    """``Type: message`` in one line; what is no error of the user is a defect, whose traceback is kept."""
    first = str(error).strip().partition("\n")[0]
    shown = f"{type(error).__name__}: {first}"
    if isinstance(error, (DataError, FileNotFoundError, ValueError)):
        return shown
    folder.mkdir(parents=True, exist_ok=True)
    place = folder / "traceback.txt"
    place.write_text("".join(traceback.format_exception(error)))
    return f"{shown} (see {place})"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's remarks about hardware and workers do not belong into a table of fifteen probes."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)
