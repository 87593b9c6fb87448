"""The table at the end of a probe."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from pcfrl_lightning.probes.results import blocks


def print_report(results: dict[str, Any], path: Path) -> None:
    """Print the scalar metrics of the last and, where there is one, the best epoch, and where the rest is."""
    found, features = blocks(results), results["features"]
    source = features["baseline"] or features["checkpoint"]
    table = Table(
        title=f"{results['task']} on {results['dataset']}: {', '.join(found)} of {source}, "
        f"{results['protocol']} protocol"
    )
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
    console = Console()
    console.print(table)
    console.print(f"results: {path}", soft_wrap=True, highlight=False)
