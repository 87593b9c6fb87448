"""What a folder of a run holds: pretraining, probes, the demo, an ablation or a sweep."""

import csv
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pcfrl_lightning.errors import UsageError, one_line
from pcfrl_lightning.evaluate.summary import source_name
from pcfrl_lightning.evaluate.tasks import TASKS
from pcfrl_lightning.networks.stored import checkpoint_of
from pcfrl_lightning.probes.results import blocks
from pcfrl_lightning.sweeps.results import RESULTS, Description, read_description, read_results
from pcfrl_lightning.sweeps.trial import Outcome


@dataclass(frozen=True)
class Measured:
    """What one probe found for one feature."""

    task: str  # of `pcfrl evaluate` where it has such a task, else that of the probe
    weights: str  # pretrained, untrained, or the name of hand-made features
    feature: str
    metrics: Mapping[str, Any]  # of the last epoch
    content: Mapping[str, Any]  # of results.json
    data: str = ""  # where images and labels are from, for a task that `pcfrl evaluate` does not have

    def value(self, metric: str, index: int | None = None) -> float | None:
        """One number; None where there is none."""
        found = self.metrics.get(metric)
        if index is not None:
            found = found[index] if isinstance(found, list) and index < len(found) else None
        return float(found) if isinstance(found, (int, float)) else None

    def curve(self, metric: str, length: int) -> list[Any] | None:
        """So many numbers; None where there are none, or another version had more or fewer."""
        found = self.metrics.get(metric)
        return found if np.shape(found or 0) == (length,) else None


@dataclass(frozen=True)
class Study:
    """An ablation or a sweep, as far as it has run."""

    about: Description
    outcomes: Sequence[Outcome]


@dataclass(eq=False)
class Run:
    """One folder that was given; each part is empty where the folder does not have it."""

    name: str
    folder: Path
    config: Mapping[str, Any] = field(default_factory=dict)  # of the pretraining
    history: Mapping[str, tuple[list[float], list[float]]] = field(default_factory=dict)  # epochs and means by name
    images_seen: int | None = None
    checkpoint: Path | None = None
    measured: Sequence[Measured] = ()
    demo: Mapping[str, Any] = field(default_factory=dict)  # results.json of the demo
    study: Study | None = None
    disentangled: Mapping[str, Any] = field(default_factory=dict)  # disentangle.json
    seed: int | None = None
    named: bool = False  # by the user
    label: str = ""  # differs from those of all other runs

    def __post_init__(self) -> None:
        self.label = self.label or self.name

    @property
    def pretraining(self) -> bool:
        """Whether it holds a run of `pcfrl fit`."""
        return bool(self.checkpoint or self.history)


def read_runs(given: Sequence[str]) -> list[Run]:
    """All runs of some folders, each ``FOLDER`` or ``NAME=FOLDER``; runs of one name are seeds of one setting.

    Raises:
        UsageError: a folder that does not exist, or holds nothing to report on.
    """
    runs = [run for text in given for run in _runs(text)]
    names = [run.name for run in runs]
    for run in runs:
        same = {_setting(other) for other, name in zip(runs, names, strict=True) if name == run.name and other.config}
        if run.config and not run.named and len(same) > 1:  # not seeds of one setting
            run.name = f"{run.name} ({_place(run, runs)})"
    known = {(one.task, one.data) for run in runs for one in run.measured}
    several = {task for task, count in Counter(task for task, _ in known).items() if count > 1}  # own data, one label
    for run in runs:
        run.label = _label(run, runs)
        run.measured = [
            replace(one, task=f"{one.task} ({one.data})") if one.task in several else one for one in run.measured
        ]
    return runs


def within(config: Any, *path: str) -> Any:
    """A value inside a config; None where it has none."""
    for key in path:
        config = config.get(key) if isinstance(config, Mapping) else None
    return config


def _label(run: Run, runs: Sequence[Run]) -> str:
    """The name, where it is taken with the seed, else with the folder, else with the place in the command."""
    same = [one for one in runs if one.name == run.name and one.pretraining == run.pretraining]
    ways: tuple[Callable[[Run], str], ...] = (
        lambda one: one.name,
        lambda one: f"{one.name}, seed {one.seed}",
        lambda one: f"{one.name} ({_place(one, same)})",
        lambda one: f"{one.name} ({1 + runs.index(one)})",
    )
    return next(way(run) for way in ways if len({way(one) for one in same}) == len(same))


def _place(run: Run, runs: Sequence[Run]) -> str:
    """The end of its path, as long as it must be to differ from those of the others."""
    parts, others = run.folder.resolve().parts, [one.folder.resolve().parts for one in runs if one is not run]
    lengths = range(1, len(parts))
    length = next((n for n in lengths if all(other[-n:] != parts[-n:] for other in others)), len(parts))
    return "/".join(parts[-length:])


def _runs(text: str) -> Iterator[Run]:
    name, separator, path = text.partition("=")
    if not separator or Path(text).exists():
        name, path = "", text
    folder = Path(path)
    if not path or not folder.is_dir():
        raise UsageError(f"{path or text} is not a folder; give that of a run, such as runs/pretrain/version_0")
    several = [] if (folder / "summary.json").exists() else sorted(folder.glob("*/summary.json"))
    if several:  # `pcfrl evaluate` of several encoders
        encoders = {file.parent: str(_json(file).get("encoder") or file.parent.name) for file in several}
        found = [_read(place, f"{name} {encoder}".strip()) for place, encoder in encoders.items()]
    else:
        found = [_read(folder, name)]
    if not any(run.pretraining or run.measured or run.study or run.disentangled for run in found):
        raise UsageError(_nothing(path, found[0].config, bool(several) or (folder / "summary.json").exists()))
    yield from found


def _nothing(path: str, config: Mapping[str, Any], evaluated: bool) -> str:
    """Why a folder gives nothing to report on."""
    if evaluated:
        return f"{path}: no task was measured there; summary.json says why, `pcfrl evaluate --data-root` where data is"
    if _probed(config):
        how = f"pcfrl test --config {path}/config.yaml --ckpt_path {path}/checkpoints/last.ckpt"
        return f"{path} holds a probe that was not tested yet: {how}"
    return (
        f"{path} holds neither a run of `pcfrl fit` (metrics.csv, checkpoints) nor results of `pcfrl evaluate`, "
        "`pcfrl demo`, `pcfrl ablate` or `pcfrl sweep`"
    )


def _read(folder: Path, name: str) -> Run:
    summary, results = _json(folder / "summary.json"), _json(folder / "results.json")
    config = _config(folder)
    probed = _probed(config)
    found = name or str(summary.get("encoder") or "") or probed or method_name(config)
    run = Run(found or folder.resolve().name, folder, config, named=bool(name))
    run.disentangled = _json(folder / "disentangle.json")
    run.seed = config.get("seed_everything", summary.get("seed"))
    described = next((path for path in (folder / "ablation.json", folder / "sweep.json") if path.is_file()), None)
    if described and (folder / RESULTS).is_file():
        run.study = Study(read_description(described), read_results(folder / RESULTS))
        return run
    if (folder / "metrics.csv").is_file():
        run.history, run.images_seen = read_history(folder / "metrics.csv")
    if not probed:  # its checkpoint is that of a head
        with suppress(FileNotFoundError):
            run.checkpoint = checkpoint_of(folder)
    run.demo = results if "random_init" in results and "calibration" in results else {}
    run.measured = [one for path in sorted(folder.rglob("results.json")) for one in read_probe(path)]
    return run


def read_probe(path: Path) -> list[Measured]:
    """A results.json of a probe, a `Measured` per feature; none for a file that is of something else."""
    content = _json(path)
    if "probe" not in content or "features" not in content:
        return []
    try:
        baseline = content["features"].get("baseline")
        weights = "untrained" if baseline == "random" else str(baseline or "pretrained")
        key = content["probe"], content.get("dataset")
        task = next((task.name for task in TASKS if (task.probe.__name__, task.data) == key), "")
        about, found = content.get("data") or {}, blocks(dict(content))
        files = map(str, filter(None, [*about.get("read_from", []), about.get("labels")]))
        data = "" if task else ", ".join(files) or str(content.get("dataset"))
        last = {str(name): dict(each["metrics"]["last"]) for name, each in found.items()}
        for figure in (figure for each in last.values() for figure in each.values()):
            np.array(figure, float)  # a number, or an array of numbers
        int(content.get("seed") or 0)  # seeds are compared as numbers
        return [Measured(task or str(content["task"]), weights, *each, content, data) for each in last.items()]
    except (LookupError, TypeError, AttributeError, ArithmeticError, ValueError):
        raise UsageError(f"{path} is no results.json of `pcfrl test`; remove it or run the test again") from None


def read_history(path: Path) -> tuple[dict[str, tuple[list[float], list[float]]], int | None]:
    """Epochs and epoch means of a CSVLogger file by name, without ``train/`` and ``_epoch``; and the images seen."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not a table: {error}") from None
    history: dict[str, tuple[list[float], list[float]]] = {}
    seen: int | None = None
    for number, line in enumerate(lines, 2):
        try:
            if line.get("train/images_seen"):
                seen = int(float(line["train/images_seen"]))
            for key, value in line.items():
                if key and value and key.startswith("train/") and key.endswith("_epoch") and line.get("epoch"):
                    epochs, values = history.setdefault(key[len("train/") : -len("_epoch")], ([], []))
                    epochs.append(float(line["epoch"]) + 1)
                    values.append(float(value))
        except (ValueError, OverflowError) as error:
            raise UsageError(f"{path}:{number}: {error}; remove the line") from None
    return history, seen


def method_name(config: Mapping[str, Any]) -> str:
    """The class of the method, and PCL for a PCFRL that calibrates nothing; empty where the config has none."""
    kind = str(within(config, "model", "class_path") or "").rpartition(".")[2]
    return "PCL" if kind == "PCFRL" and calibrators(config) == ["NoCalibration"] else kind


def _probed(config: Mapping[str, Any]) -> str:
    """The encoder that a probe with this config measures; empty for the config of something else."""
    settings = within(config, "model", "init_args")
    if not isinstance(settings, Mapping) or "baseline" not in settings:
        return ""
    source = settings.get("checkpoint")
    return source_name(str(source)) if source else str(settings["baseline"] or "untrained")


def calibrators(config: Mapping[str, Any]) -> list[str]:
    """Names of the calibrators of the method, without repeats."""
    paths = [path for key, path in class_paths(config.get("model")) if key == "calibrator"]
    return list(dict.fromkeys(path.rpartition(".")[2] for path in paths))


def class_paths(spec: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every class that a part of a config names, after the key that it stands under."""
    if isinstance(spec, Mapping):
        if "class_path" in spec:
            yield key, str(spec["class_path"])
        for name, each in spec.items():
            yield from class_paths(each, name)
    elif isinstance(spec, (list, tuple)):
        for each in spec:
            yield from class_paths(each, key)


def _setting(run: Run) -> str:
    """What two seeds of one setting share: the configuration, but for seeds and places."""
    config = {key: run.config.get(key) for key in ("model", "optimizer", "lr_scheduler")}
    data = {key: value for key, value in (within(run.config, "data", "init_args") or {}).items() if key != "seed"}
    return json.dumps([config, data, within(run.config, "trainer", "max_epochs")], sort_keys=True, default=str)


def _config(folder: Path) -> dict[str, Any]:
    path = next((path for path in (folder / "config.yaml", folder / "pretrain_config.yaml") if path.is_file()), None)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) if path else None
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} is not yaml: {one_line(error, 200)}") from None
    return content if isinstance(content, dict) else {}


def _json(path: Path) -> dict[str, Any]:
    """The object in a file; empty where there is no file. UsageError for a damaged one."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    return content if isinstance(content, dict) else {}
