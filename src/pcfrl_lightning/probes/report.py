"""The table at the end of a probe."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def print_report(results: dict[str, Any], path: Path) -> None:
    """Print the scalar metrics of the last and, where there is one, the best epoch, and where the rest is."""
    metrics, features = results["metrics"], results["features"]
    source = features["baseline"] or features["checkpoint"]
    title = (
        f"{results['task']} on {results['dataset']}: {features['feature']} of {source}, {results['protocol']} protocol"
    )
    table = Table(title=title)
    table.add_column("metric")
    table.add_column("last epoch (headline)" if "epochs" in results else "value", justify="right")
    if metrics["best"] is not None:
        table.add_column(f"best epoch on {results['chosen_on']}", justify="right")
    for name, value in metrics["last"].items():
        if isinstance(value, float):
            cells = [value] if metrics["best"] is None else [value, metrics["best"][name]]
            table.add_row(name, *(f"{cell:.4f}" for cell in cells))
    console = Console()
    console.print(table)
    console.print(f"results: {path}", soft_wrap=True, highlight=False)
