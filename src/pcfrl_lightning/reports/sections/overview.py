"""The runs: what they were trained on and how long, and how each number can be made again."""

from collections.abc import Sequence

from pcfrl_lightning.reports.content import Cell, Section, Table
from pcfrl_lightning.reports.measured import describe_hardware
from pcfrl_lightning.reports.runs import Run, calibrators, method_name, within


def overview_section(runs: Sequence[Run]) -> Section:
    """A row for each pretraining, and what the demo and the evaluation recorded about themselves."""
    trained = [run for run in runs if run.pretraining]
    rows: list[list[str | Cell]] = [_row(run) for run in trained]
    headings = ["run", "method", "calibrator", "data", "images seen", "epochs", "seed", "folder"]
    tables = [Table(headings, rows)] if rows else []
    facts = {f"How {run.name} was made": _demo(run) for run in runs if run.demo}
    return Section("Runs", tables=tables, facts=facts)


def _row(run: Run) -> list[str | Cell]:
    epochs = len(next(iter(run.history.values()))[0]) if run.history else None
    data = str(within(run.config, "data", "class_path") or "").rpartition(".")[2]
    seen = f"{run.images_seen:,}" if run.images_seen is not None else "not logged"
    cells = [method_name(run.config) or "unknown", ", ".join(calibrators(run.config)) or "default", data]
    last = ["" if value is None else str(value) for value in (epochs, run.seed)]
    return [run.label, *cells, seen, *last, run.folder.name]


def _demo(run: Run) -> dict[str, str]:
    results = run.demo
    return {
        "command": str(results["command"]),
        "seed": str(results["seed"]),
        "images seen": f"{run.images_seen:,}" if run.images_seen is not None else "not logged",
        "probes": f"linear heads on frozen features, {results['probe_epochs']} epochs; verification by cosine",
        "hardware": describe_hardware(results["hardware"]),
        "versions": ", ".join(f"{name} {value}" for name, value in results["versions"].items()),
        "time": ", ".join(f"{name} {value:.0f} s" for name, value in results["seconds"].items()),
    }
