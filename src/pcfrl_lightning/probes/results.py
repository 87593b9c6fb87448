"""results.json: what was measured, on what, with what, how."""

import json
import os
import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from rich.table import Table

from pcfrl_lightning.data.quality.provenance import describe_data
from pcfrl_lightning.distributed import cores
from pcfrl_lightning.files import file_sha256, replacing
from pcfrl_lightning.networks.stored import locate
from pcfrl_lightning.printing import plain_console
from pcfrl_lightning.probes.plan import Part, Plan

if TYPE_CHECKING:
    from pcfrl_lightning.probes.probe import Probe

Metrics = dict[str, float | list[Any]]


def average_folds(folds: list[Metrics]) -> Metrics:
    """Mean of each metric over folds; with several folds also its standard deviation and the single values."""
    if len(folds) == 1:
        return folds[0]
    result: Metrics = {}
    for key, value in folds[0].items():
        values = np.array([fold[key] for fold in folds], dtype=np.float64)
        result[key] = values.mean(0).tolist()
        if isinstance(value, float):
            result[f"{key}_std"] = float(values.std())
            result[f"{key}_folds"] = values.tolist()
    return result


def describe_run(probe: "Probe", data: Any, plan: Plan, metrics: dict[str, dict[str, Metrics]]) -> dict[str, Any]:
    """Everything results.json says, as primitives; ``metrics`` are by feature and epoch (``last``, ``best``).

    With one feature its metrics, learning rates and best epochs stand beside the rest; with several, in one block per
    feature under ``by_feature`` (see `blocks`).
    """
    source = probe.source
    assert source.extractor is not None
    sizes = {"train": plan.train, "choice": plan.choice, "test": plan.test}
    found = {
        name: {"metrics": {"headline": "last", "last": each["last"], "best": each.get("best")}}
        | (probe.heads[name].facts(probe.rules.rates) if probe.heads else {})
        for name, each in metrics.items()
    }
    named = source.checkpoint and Path(source.checkpoint)
    weights = locate(source.checkpoint) if source.checkpoint else None
    return {
        "task": probe.task.name,
        "probe": type(probe).__name__,
        "label": probe.task.label,
        "class_names": plan.test.faces.class_names.get(probe.task.label) if plan.test else None,
        "dataset": getattr(data, "name", None) or type(data).__name__,
        "cropping": cropping_of(data),
        "data": describe_data(data, [part.faces for part in sizes.values() if part is not None]),
        "splits": {name: _describe_part(part, plan.folds) for name, part in sizes.items() if part is not None},
        "features": {
            "checkpoint": named.name if named else None,
            "checkpoint_sha256": file_sha256(weights) if weights and weights.is_file() else None,
            "weights": Path(source.weights).name if source.weights else None,
            "baseline": source.baseline,
            "feature": next(iter(found)) if len(found) == 1 else list(found),
            "image_size": source.pixels,
            "precision": source.extractor.precision,
            "extractor": source.extractor.fingerprint(),
        },
        **(next(iter(found.values())) if len(found) == 1 else {"by_feature": found}),
        **_describe_protocol(probe, plan),
        "folds": plan.folds,
        "seed": source.seed,
        "extraction_seconds": round(source.seconds, 2),
        "hardware": hardware(),
        "versions": versions(),
        "command": command(sys.argv),
    }


def _describe_protocol(probe: "Probe", plan: Plan) -> dict[str, Any]:
    if not probe.task.trained:
        return {"protocol": "training-free"}
    return {
        "protocol": probe.rules.protocol,
        "epochs": int(probe.epochs_done),
        "chosen_on": plan.choice_name or None,
        "chosen_by": probe.task.monitor,
        "higher_is_better": probe.task.higher_is_better,
        "input_norm": probe.input_norm,
        "val_fraction": plan.val_fraction,
        "batch_size": probe.rules.batch_size,
        "weight_decay": probe.rules.weight_decay,
        "fit_seconds": round(probe.fit_seconds, 2),
        **probe.task.facts(),
    }


def blocks(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """``metrics``, ``lr`` and ``best_epoch`` of results.json by feature, whether it holds one feature or several."""
    found = results.get("by_feature") or {results["features"]["feature"]: results}
    return {name: {key: each.get(key) for key in ("metrics", "lr", "best_epoch")} for name, each in found.items()}


def write_results(path: Path, results: dict[str, Any]) -> Path:
    """Write results.json in one move, so that nobody meets half a file; values that are not finite become null."""
    finite = json.loads(json.dumps(results), parse_constant=lambda name: None)
    with replacing(path, shared=True) as part:
        part.write_text(json.dumps(finite, indent=2) + "\n")
    return path


def print_report(results: dict[str, Any], path: Path) -> None:
    """Print the scalar metrics of the last and, where there is one, the best epoch, and where the rest is."""
    found, features = blocks(results), results["features"]
    source = features["baseline"] or " with ".join(filter(None, [features["checkpoint"], features["weights"]]))
    title = f"{results['task']} on {results['dataset']}: {', '.join(found)} of {source}, {results['protocol']} protocol"
    table = Table(title=title)
    table.add_column("metric")
    columns = []
    for name, block in found.items():
        prefix = f"{name}: " if len(found) > 1 else ""
        table.add_column(prefix + ("last epoch (headline)" if "epochs" in results else "value"), justify="right")
        columns.append(block["metrics"]["last"])
        if len(found) == 1 and block["metrics"]["best"] is not None:
            table.add_column(f"best epoch on {results['chosen_on']}", justify="right")
            columns.append(block["metrics"]["best"])
    for name, value in columns[0].items():
        if isinstance(value, float):
            table.add_row(name, *(f"{column[name]:.4f}" for column in columns))
    console = plain_console(force_jupyter=False)  # text in a notebook, too, so that it can be redirected
    console.print(table)
    console.print(f"results: {path}", soft_wrap=True)


def hardware() -> dict[str, Any]:
    """Processor, cores this process may use, and GPU."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"cpu": _cpu_name(), "cores": cores(), "threads": torch.get_num_threads(), "gpu": gpu}


def versions() -> dict[str, str]:
    """Versions of what decides the numbers."""
    packages = ("torch", "lightning", "pcfrl-lightning")
    return {name.replace("-", "_"): version(name) for name in packages} | {"python": platform.python_version()}


def command(argv: list[str]) -> str:
    """The command line, absolute paths reduced to their last component: they would name the user."""
    listed = [re.split(r"([=,\[\]{}'\"]\s*)" if {"[", "{"} & set(word) else "(=)", word) for word in argv]
    return " ".join("".join(Path(part).name if os.path.isabs(part) else part for part in parts) for parts in listed)


def cropping_of(data: Any) -> str | None:
    """How a data set cuts out its faces, such as ``LandmarkCrop(margin=0.25)``, files by name; None: no such option."""
    cropping = getattr(data, "cropping", None)
    if cropping is None:
        return None
    shown = [f"{key}={value.name if isinstance(value, Path) else value}" for key, value in vars(cropping).items()]
    return f"{type(cropping).__name__}({', '.join(shown)})"


def _describe_part(part: Part, folds: int) -> dict[str, Any]:
    described = {"split": part.faces.name, "images": len(part.faces), "samples": part.members.shape[1]}
    if folds > 1:
        described["samples_per_fold"] = part.members[:folds].sum(1).tolist()
    return described


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
