"""The table that `pcfrl evaluate` and the demo print."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from pcfrl_lightning.evaluate.run import Row
from pcfrl_lightning.evaluate.tasks import Task

_HEADINGS = ("encoder", "weights", "feature")
_SIDE_BY_SIDE = 3
"""Figures that fit 80 columns behind the name of an encoder."""


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


def results_table(rows: Sequence[Row], title: str) -> RenderableType:
    """Every figure with the best one bold, or in its place its status; `notes` gives the remarks on the rows.

    Up to two sets of weights or features are columns, with a line per task.  More are lines, with a column per task
    that has a figure, and a table for every three tasks: so it fits 80 columns.
    """
    every = list(dict.fromkeys((row.source, row.title, row.feature) for row in rows))
    several = [len(set(each)) > 1 for each in zip(*every, strict=True)]
    found = {(row.task, row.source, row.title, row.feature): row for row in rows}
    cells = {row.task: _cells(row.task, [found.get((row.task, *one)) for one in every]) for row in rows}
    if len(every) <= 2:
        table = Table("task", "data", "metric", title=title)
        table.columns[0].no_wrap = True
        named = several if any(several) else [False, True, False]
        for each in every:
            parts = [part for part, shown in zip(each, named, strict=True) if shown]
            table.add_column("\n".join(parts), justify="right")
        for task, figures in cells.items():
            table.add_row(task.name, task.data, _metric(task), *figures)
        return table
    measured = {row.task for row in rows if row.value is not None}
    shown = [task for task in cells if task in measured or not measured]
    tables = []
    for start in range(0, len(shown), _SIDE_BY_SIDE):
        block = shown[start : start + _SIDE_BY_SIDE]
        names = [name for name, each in zip(_HEADINGS, several, strict=True) if each]
        headings = (Column(name, overflow="fold") for name in names)
        tables.append(Table(*headings, title=None if start else title))
        for task in block:
            tables[-1].add_column(f"{task.name}\n{_metric(task)}", justify="right")
        for index, each in enumerate(every):
            labels = [part for part, differs in zip(each, several, strict=True) if differs]
            tables[-1].add_row(*labels, *(cells[task][index] for task in block))
    return Group(*tables)


def notes(rows: Sequence[Row]) -> list[str]:
    """``task: remark`` of every row that has one; the encoder is named where it is not on all."""
    encoders = {row.source for row in rows}
    said: dict[str, set[str]] = {}
    for row in rows:
        if row.message:
            said.setdefault(f"{row.task.name}: {row.message}", set()).add(row.source)
    return [line if of == encoders else f"{line} ({', '.join(sorted(of))})" for line, of in said.items()]


def _metric(task: Task) -> str:
    return f"{task.metric} {'↓' if task.lower_is_better else '↑'}"


def _cells(task: Task, rows: Sequence[Row | None]) -> list[Text]:
    values = [row.value if row else None for row in rows]
    missing = [row.status if row else "" for row in rows]
    shown = [text if value is None else format_value(task, value) for text, value in zip(missing, values, strict=True)]
    return [Text(text, "bold" if best else "") for text, best in zip(shown, better(task, values), strict=True)]
