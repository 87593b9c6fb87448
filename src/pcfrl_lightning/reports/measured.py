"""Figures of probes side by side: a row per setting, weights and feature, its seeds together."""

from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from pcfrl_lightning.evaluate.tasks import TASKS
from pcfrl_lightning.reports.demo import TASKS as DEMO_TASKS
from pcfrl_lightning.reports.runs import Measured, Run

Rows = dict[str, dict[str, list[Measured]]]
"""By what a row is called, then by task: one entry per seed."""

_NAMES = {"f_s": "F_s", "f_f": "F_f", "f_p": "F_p", "concat": "all features"}


def feature_name(feature: str) -> str:
    """``F_s`` for ``f_s``."""
    return _NAMES.get(feature, feature)


def rows_of(runs: Sequence[Run]) -> Rows:
    """What was measured; runs of one name are seeds of one row."""
    rows: Rows = {}
    for run in runs:
        for one in sorted(run.measured, key=_order):
            rows.setdefault(_row_name(run, one), {}).setdefault(one.task, []).append(one)
    return rows


def tasks_of(rows: Rows) -> list[str]:
    """All tasks, in the order of `pcfrl evaluate` and of the demo, then others."""
    known = [task.name for task in (*TASKS, *DEMO_TASKS.values())]
    found = dict.fromkeys(task for each in rows.values() for task in each)
    return sorted(found, key=lambda task: known.index(task) if task in known else len(known))


def _order(one: Measured) -> tuple[bool, int]:
    """The untrained network first, then features in their order."""
    features = list(_NAMES)
    return one.weights == "pretrained", features.index(one.feature) if one.feature in features else len(features)


def _row_name(run: Run, one: Measured) -> str:
    what = run.name if one.weights == "pretrained" else f"{run.name} {one.weights}"
    if one.weights in ("lbp", "hog", "pixels"):
        return one.weights
    return what if one.feature == "f_s" else f"{what}, {feature_name(one.feature)}"


def facts_of(runs: Sequence[Run], tasks: Set[str]) -> dict[str, dict[str, str]]:
    """How each figure was measured: protocol, seed, images seen, hardware, command, by task and row."""
    found: dict[str, dict[str, str]] = {}
    for run in runs:
        for one in run.measured:
            if one.task in tasks:
                found[f"How {_row_name(run, one)} was measured: {one.task}, seed {one.content.get('seed')}"] = facts(
                    run, one, runs
                )
    return found


def facts(run: Run, one: Measured, runs: Sequence[Run] = ()) -> dict[str, str]:
    """Protocol, seed, images seen, hardware and command of one figure."""
    content = one.content
    epochs = f", {content['epochs']} epochs" if "epochs" in content else ""
    chosen = f", learning rate chosen on {content['chosen_on']}" if content.get("chosen_on") else ""
    size = content["features"].get("image_size")
    hardware = content.get("hardware") or {}
    return {
        "protocol": f"{content.get('protocol', 'not recorded')}{epochs}{chosen}, {size} px",
        "data": f"{content.get('dataset')}, {_samples(one)} test samples",
        "seed": str(content.get("seed")),
        "images seen in pretraining": _seen(run, one, runs),
        "hardware": describe_hardware(hardware),
        "command": str(content.get("command", "not recorded")),
    }


def describe_hardware(hardware: Mapping[str, object]) -> str:
    """Processor, cores and GPU in words."""
    if not hardware:
        return "not recorded"
    gpu = f", {hardware['gpu']}" if hardware.get("gpu") else ", no GPU"
    return f"{hardware.get('cpu')}, {hardware.get('cores')} cores{gpu}"


def _samples(one: Measured) -> int | str:
    return one.content.get("splits", {}).get("test", {}).get("samples", "?")


def _seen(run: Run, one: Measured, runs: Sequence[Run]) -> str:
    """From the run itself, or from a run that was given and has the same checkpoint."""
    if one.weights != "pretrained":
        return "none"
    sha = one.content["features"].get("checkpoint_sha256")
    for other in (run, *runs):
        if other.images_seen is not None and other.checkpoint and (other is run or _sha(other.checkpoint) == sha):
            return f"{other.images_seen:,}"
    return "not known here: give the folder of the pretraining, too"


def _sha(path: Path) -> str:
    from pcfrl_lightning.networks.checkpoint import file_sha256

    return file_sha256(path)
