"""Checkpoints of heads, which say what a head was trained on.

A test that describes other data would report a figure for a training it never had.
"""

from pathlib import Path
from typing import Any, TypeVar

import lightning as L

from pcfrl_lightning.data.images.sources import digest
from pcfrl_lightning.data.quality.provenance import describe_data
from pcfrl_lightning.errors import DataError, UsageError, one_line
from pcfrl_lightning.networks.checkpoint import read_checkpoint
from pcfrl_lightning.probes.plan import Plan
from pcfrl_lightning.probes.results import cropping_of
from pcfrl_lightning.probes.tasks.base import Task
from pcfrl_lightning.run_directory import run_directory

P = TypeVar("P", bound=L.LightningModule)
_NO_MATTER = {"cache", "download", "read_from", "test_list", "train_list"}
"""Settings of data sets that do not change the training images, or do so by their names."""


def describe_training(data: Any, plan: Plan, task: Task) -> dict[str, Any]:
    """Primitives for a checkpoint: task, training split, hash of its image names, options of the data set."""
    if plan.train is None:
        return {}
    train = plan.train
    options = {key: value for key, value in describe_data(data, []).items() if key not in _NO_MATTER}
    source = train.faces.source
    names = digest(source.name(row).rpartition("/")[2] for row in range(len(source)))[:12]
    about: dict[str, Any] = {"task": type(task).__name__, "label": task.label}
    about |= {"split": train.faces.name, "count": len(source), "names": names, "cropping": cropping_of(data)}
    return {**about, **options}


def check_training(checkpoint: dict[str, Any], here: dict[str, Any]) -> None:
    """Refuse a head of other data than the run describes (`describe_training`); names each key with both values."""
    then = checkpoint.get("trained_on", {})  # files of earlier versions know nothing
    if not isinstance(then, dict):
        raise UsageError("the checkpoint of the head is damaged: its 'trained_on' is not a dictionary")
    differing = [key for key in sorted(then.keys() & here) if then[key] != here[key]]
    if differing == ["names"]:
        raise UsageError(f"the head was trained on other images of {here['split']} than this run describes")
    if differing:
        told = "; ".join(f"{key} {then[key]!s:.100}, not {here[key]!s:.100}" for key in differing if key != "names")
        raise UsageError(f"the head was trained with {told}: give the data options of its `pcfrl fit`")


def forget_test(trainer: L.Trainer) -> None:
    """Remove the figures of an earlier head from the run folder: they would be taken for those of the new one."""
    folder = run_directory(trainer)
    if folder != Path(trainer.default_root_dir):  # otherwise the run has no folder of its own
        for name in ("results.json", "metrics_test.csv"):
            (folder / name).unlink(missing_ok=True)


def load_probe(kind: type[P], path: str | Path, map_location: Any, overrides: dict[str, Any]) -> P:
    """See `Probe.load_from_checkpoint`."""
    checkpoint = read_checkpoint(path)
    settings = {key: value for key, value in checkpoint["hyper_parameters"].items() if not key.startswith("_")}
    try:
        probe = kind(**{**settings, **overrides})
        probe.on_load_checkpoint(checkpoint)
        probe.load_state_dict(checkpoint["state_dict"])
    except Exception as error:  # of wrong settings, names and shapes
        raise DataError(f"{path} does not hold a {kind.__name__}: {one_line(error)}") from error
    return probe.to(map_location or "cpu")
