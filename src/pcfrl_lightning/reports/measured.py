"""Figures of probes side by side: a row per setting, weights and feature, its seeds together."""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import NamedTuple

from pcfrl_lightning.evaluate.statistics import Estimate, estimate
from pcfrl_lightning.evaluate.tasks import TASKS
from pcfrl_lightning.files import file_sha256
from pcfrl_lightning.reports.demo import TASKS as DEMO_TASKS
from pcfrl_lightning.reports.runs import Measured, Run

HAND_MADE = ("lbp", "hog", "pixels")
"""Features that no run has learned, which stand in rows of their own."""
_NAMES = {"f_s": "F_s", "f_f": "F_f", "f_p": "F_p", "concat": "all features"}


KNOWN = {task.name: task for task in (*TASKS, *DEMO_TASKS.values())}
"""Tasks of `pcfrl evaluate` and of the demo by name."""


def feature_name(feature: str) -> str:
    """``F_s`` for ``f_s``."""
    return _NAMES.get(feature, feature)


class Key(NamedTuple):
    """What a row of a table is about; its seeds share it."""

    name: str  # of the run; empty for hand-made features
    weights: str = "pretrained"  # see `Measured`
    feature: str = "f_s"

    @property
    def title(self) -> str:
        """Of the row."""
        if not self.name:
            return self.weights
        what = self.name if self.weights in ("pretrained", self.name) else f"{self.name} {self.weights}"
        return what if self.feature == "f_s" else f"{what}, {feature_name(self.feature)}"

    @property
    def column(self) -> str:
        """Beside others of the same run."""
        if not self.name:
            return self.weights
        return " ".join([self.weights] * (self.weights != "pretrained") + [feature_name(self.feature)])


Rows = dict[Key, dict[str, list[Measured]]]
"""By row, then by task: one entry per seed."""


def rows_of(runs: Sequence[Run]) -> Rows:
    """What was measured; runs of one name are seeds of one row."""
    rows: Rows = {}
    for run in runs:
        for one in sorted(run.measured, key=_order):
            rows.setdefault(_key(run, one), {}).setdefault(one.task, []).append(one)
    return rows


def count_once(runs: Sequence[Run]) -> list[str]:
    """Leave out what is no further seed, the same weights measured again with the same seed; the last folder counts.

    Returns a note for each checkpoint and task that this happened to. An untrained network follows from its seed, so
    for it there is nothing to say.
    """
    last: dict[tuple[object, ...], Measured] = {}
    for run in runs:
        last |= {_seed(run, one): one for one in run.measured}
    notes: dict[str, None] = {}
    for run in runs:
        kept = []
        for one in run.measured:
            if last[_seed(run, one)] is one:
                kept.append(one)
            elif one.weights == "pretrained":
                seed = f"seed {one.content.get('seed')}"
                notes[f"{run.label}: {one.task} was measured again with {seed}; the last folder counts"] = None
        run.measured = kept
    return list(notes)


def _seed(run: Run, one: Measured) -> tuple[object, ...]:
    """Row and task of a measurement, and what differs between two seeds of these."""
    features = one.content["features"]
    file = features.get("checkpoint_sha256") or features.get("extractor") or id(one)  # weights of timm have no file
    weights = f"{file} {features.get('weights')}"
    return _key(run, one), one.task, one.content.get("seed"), weights if one.weights == "pretrained" else ""


def tasks_of(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """All tasks of some rows, in the order of `pcfrl evaluate` and of the demo, then others."""
    found = dict.fromkeys(task for each in rows for task in each)
    return [task for task in KNOWN if task in found] + [task for task in found if task not in KNOWN]


def estimate_of(found: Iterable[Measured], metric: str, scale: float = 1.0, index: int | None = None) -> Estimate:
    """Over the seeds that have the figure, times ``scale``."""
    values = (one.value(metric, index) for one in found)
    return estimate(scale * value for value in values if value is not None)


def best_of(values: Iterable[float | None], lower: bool) -> float | None:
    """The best of the known values, which are neither None nor nan; None where there is nothing to compare."""
    known = [value for value in values if value is not None and not math.isnan(value)]
    return (min if lower else max)(known) if len(known) > 1 else None


def with_interval(found: Estimate) -> str:
    """A mean, and the half width of its interval where there are several seeds."""
    if not found.n:
        return ""
    return f"{found.mean:.2f}" if found.n == 1 else f"{found.mean:.2f} \u00b1 {found.half_width:.2f} (n = {found.n})"


def with_ends(found: Estimate) -> str:
    """A difference, and its interval where there are several seeds."""
    if not found.n:
        return ""
    return f"{found.mean:+.2f}" if found.n == 1 else f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def _order(one: Measured) -> tuple[bool, int]:
    """The untrained network first, then features in their order."""
    features = list(_NAMES)
    return one.weights == "pretrained", features.index(one.feature) if one.feature in features else len(features)


def _key(run: Run, one: Measured) -> Key:
    return Key("" if one.weights in HAND_MADE else run.name, one.weights, one.feature)


def facts_of(runs: Sequence[Run], tasks: Set[str]) -> dict[str, dict[str, str]]:
    """How each figure was measured: protocol, seed, images seen, hardware, command, by task and row."""
    found: dict[str, dict[str, str]] = {}
    for run in runs:
        for one in run.measured:
            if one.task in tasks:
                title = f"How {_key(run, one).title} was measured: {one.task}, seed {one.content.get('seed')}"
                found[title] = _facts(run, one, runs)
    return found


def _facts(run: Run, one: Measured, runs: Sequence[Run]) -> dict[str, str]:
    content = one.content
    samples = content.get("splits", {}).get("test", {}).get("samples", "?")
    epochs = f", {content['epochs']} epochs" if "epochs" in content else ""
    chosen = f", learning rate chosen on {content['chosen_on']}" if content.get("chosen_on") else ""
    size = content["features"].get("image_size")
    return {
        "protocol": f"{content.get('protocol', 'not recorded')}{epochs}{chosen}, {size} px",
        "data": f"{content.get('dataset')}, {samples} test samples",
        "seed": str(content.get("seed")),
        "images seen in pretraining": _seen(run, one, runs),
        "hardware": describe_hardware(content.get("hardware") or {}),
        "command": str(content.get("command", "not recorded")),
    }


def describe_hardware(hardware: Mapping[str, object]) -> str:
    """Processor, cores and GPU in words."""
    if not hardware:
        return "not recorded"
    gpu = f", {hardware['gpu']}" if hardware.get("gpu") else ", no GPU"
    return f"{hardware.get('cpu')}, {hardware.get('cores')} cores{gpu}"


def _seen(run: Run, one: Measured, runs: Sequence[Run]) -> str:
    """From the run itself, or from a run that was given and has the same checkpoint."""
    if one.weights != "pretrained":
        return "none"
    sha = one.content["features"].get("checkpoint_sha256")
    for other in (run, *runs):
        path = other.checkpoint
        if path and other.images_seen is not None and (other is run or file_sha256(path) == sha):
            return f"{other.images_seen:,}"
    return "not known here: give the folder of the pretraining, too"
