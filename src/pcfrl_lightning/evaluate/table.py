"""The table that `pcfrl evaluate` and the demo print."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from pcfrl_lightning.evaluate.run import Row, Weights
from pcfrl_lightning.evaluate.tasks import Task

TITLES: dict[Weights, str] = {"random_init": "random init", "pretrained": "pretrained"}


def format_value(task: Task, value: float) -> str:
    """A figure with its unit: ``83.1 %``, ``7.42 deg``, ``0.0512``."""
    if task.unit == "%":
        return f"{100 * value:.1f} %"
    return f"{value:.2f} {task.unit}" if task.unit else f"{value:.4f}"


def better(task: Task, values: Sequence[float | None]) -> list[bool]:
    """Which of the figures are the best; none when there is nothing to compare."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return [False] * len(values)
    best = min(known) if task.lower_is_better else max(known)
    return [value == best for value in values]


def results_table(rows: Sequence[Row], title: str) -> Table:
    """One line per task, one column per encoder, set of weights and feature; the best figure is bold; instead of
    a missing figure stands its status. `notes` gives the remarks on the rows, which are too long for a table.
    """
    columns = list(dict.fromkeys((row.source, row.weights, row.feature) for row in rows))
    table = Table(title=escape(title))
    for heading in ("task", "data", "metric"):
        table.add_column(heading, no_wrap=heading == "task")
    several = [len(set(each)) > 1 for each in zip(*columns, strict=True)]
    for source, weights, feature in columns:
        parts = [source if several[0] else "", TITLES[weights] if several[1] or not (several[0] or several[2]) else ""]
        table.add_column(escape("\n".join(filter(None, [*parts, feature if several[2] else ""]))), justify="right")
    for task in dict.fromkeys(row.task for row in rows):
        mine = {(row.source, row.weights, row.feature): row for row in rows if row.task == task}
        found = [mine.get(column) for column in columns]
        marks = better(task, [row.value if row else None for row in found])
        cells = [_cell(row, mark) if row else "" for row, mark in zip(found, marks, strict=True)]
        arrow = "↓" if task.lower_is_better else "↑"
        table.add_row(task.name, task.data, f"{task.metric} {arrow}", *cells)
    return table


def notes(rows: Sequence[Row]) -> list[str]:
    """``task: why there is no figure, or what is special about it``, for every row with a remark.

    A remark on all encoders is given once; otherwise the encoder is named.
    """
    encoders = {row.source for row in rows}
    said: dict[str, set[str]] = {}
    for row in rows:
        if row.message:
            said.setdefault(f"{row.task.name}: {row.message}", set()).add(row.source)
    return [line if of == encoders else f"{line} ({', '.join(sorted(of))})" for line, of in said.items()]


def _cell(row: Row, best: bool) -> str:
    if row.value is None:
        return row.status
    text = format_value(row.task, row.value)
    return f"[bold]{text}[/bold]" if best else text
