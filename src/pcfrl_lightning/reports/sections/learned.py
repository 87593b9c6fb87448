"""What was learned: every figure beside that of the untrained network, and settings beside each other."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pcfrl_lightning.evaluate.statistics import Estimate, paired_difference
from pcfrl_lightning.figures.curves import interval_plot
from pcfrl_lightning.reports.content import Cell, Picture, Section, Table
from pcfrl_lightning.reports.measured import (
    KNOWN,
    Key,
    Rows,
    best_of,
    estimate_of,
    rows_of,
    tasks_of,
    with_ends,
    with_interval,
)
from pcfrl_lightning.reports.runs import Measured, Run

SHARE, POINTS = 0.05, 0.02
"""Smallest relative change of an error, and change of an F1 score, that count where no standard error is known."""

_WORDS = {"mae_mean": "mean error", "mae": "mean error", "f1": "mean F1", "nme": "error"}


class Headline(NamedTuple):
    """The figure of a task that tables show; ``scale`` 100 with unit %."""

    metric: str
    lower: bool
    unit: str

    @property
    def scale(self) -> float:
        """What a share is multiplied by."""
        return 100.0 if self.unit == "%" else 1.0

    def text(self, value: float) -> str:
        """With its unit."""
        shown = f"{self.scale * value:.1f}" if self.unit == "%" else f"{value:.2f}"
        return f"{shown} {self.unit}".strip()

    @property
    def title(self) -> str:
        """In words, with the unit and which way is better."""
        unit, arrow = f" in {self.unit}" if self.unit else "", "\u2193" if self.lower else "\u2191"
        return f"{_WORDS.get(self.metric, self.metric.replace('_', ' '))}{unit} {arrow}"


def headline(one: Measured) -> Headline:
    """The figure of the task in the table of `pcfrl evaluate`, else what chose the best epoch."""
    known = KNOWN.get(one.task)
    if known is not None and known.metric in one.metrics:
        return Headline(known.metric, known.lower_is_better, known.unit)
    chosen = str(one.content.get("chosen_by") or "")
    figures = [key for key, value in one.metrics.items() if isinstance(value, float)]
    metric = chosen if not isinstance(one.metrics.get(chosen, []), list) else next(iter(figures), chosen)
    lower = metric.startswith(("mae", "nme", "eer"))
    if metric == chosen:  # which way is not told by earlier versions
        lower = not one.content.get("higher_is_better", not lower)
    return Headline(metric, lower, "" if lower else "%")


def learned_section(runs: Sequence[Run]) -> Section:
    """For one setting its tasks with verdicts; for several a row each, with intervals and differences over seeds."""
    rows = rows_of(runs)
    if not rows:
        return Section("What was learned")
    names = list(dict.fromkeys(run.name for run in runs if run.measured))
    points = [point for name in names for point in verdicts(name, rows, len(names) > 1)]
    if len(names) == 1:
        return Section("What was learned", points=points, tables=[_of_one(rows)])
    tables, pictures = [_side_by_side(rows), *_differences(names, rows)], _intervals(rows)
    text = [
        "Means over seeds with 95 % intervals of Student's distribution; one seed has no interval."
        if any(len(each) > 1 for found in rows.values() for each in found.values())
        else "One seed of each: differences of a point or two may be chance."
    ]
    return Section("What was learned", text, points, tables, pictures=pictures)


def verdicts(name: str, rows: Rows, named: bool = False) -> list[str]:
    """A sentence for each task of a setting whose F_s was measured untrained and pretrained."""
    before, after = rows.get(Key(name, "untrained"), {}), rows.get(Key(name), {})
    found = []
    for task in tasks_of([after]):
        if task in before:
            label = f"{name}, {task}" if named else task
            found.append(verdict(label, headline(after[task][0]), before[task], after[task]))
    return sorted(filter(None, found), key=lambda line: not line.startswith("Learned"))


def verdict(task: str, shown: Headline, before: Sequence[Measured], after: Sequence[Measured]) -> str:
    """Whether the pretrained figure is better than the untrained one by more than chance; empty where one is absent."""
    old, new = (estimate_of(each, shown.metric).mean for each in (before, after))
    gain = (old - new) if shown.lower else (new - old)
    if math.isnan(gain):
        return ""
    limit = _limit(shown, old, new, after[0])
    figures = f"{task} ({_WORDS.get(shown.metric, shown.metric)} {shown.text(new)}, untrained {shown.text(old)}"
    share = after[0].metrics.get("majority_share") if shown.metric == "accuracy" else None
    if isinstance(share, float):
        figures += f", always the most frequent answer {100 * share:.1f} %"
    if gain > limit:
        return f"Learned: {figures})."
    if gain < -limit:
        return f"Worse than untrained: {figures})."
    return f"Not learned: {figures}), no difference beyond chance."


def _limit(shown: Headline, old: float, new: float, one: Measured) -> float:
    """Two standard errors of an accuracy of so many test samples; else a fixed share."""
    if shown.metric == "accuracy":
        samples = one.content.get("splits", {}).get("test", {}).get("samples") or 1
        return 2 * math.sqrt((old * (1 - old) + new * (1 - new)) / samples)
    return POINTS if shown.unit == "%" else SHARE * old


def _of_one(rows: Rows) -> Table:
    """Of one setting: tasks as rows, weights and features as columns."""
    columns = _compared(rows, lambda one: f"{one.mean:.2f}" if one.n else "")
    lines: list[list[str | Cell]] = [[title, *cells] for title, cells in columns.items()]
    notes = [
        "Frozen features, last epoch; the same images, heads, learning rates (chosen on validation images) and seed in "
        "every column. The best figure of a row is bold."
    ]
    return Table(["task", *(key.column for key in rows)], lines, notes=notes)


def _side_by_side(rows: Rows) -> Table:
    """Settings as rows, tasks as columns."""
    columns = _compared(rows, with_interval)
    lines = [[key.title, *cells] for key, *cells in zip(rows, *columns.values(), strict=True)]
    return Table(["setting", *columns], lines, "Settings side by side")


def _compared(rows: Rows, text: Callable[[Estimate], str]) -> dict[str, list[Cell]]:
    """By task, with what is measured, a cell for each row; the best is bold."""
    found = {}
    for task in tasks_of(rows.values()):
        shown = headline(next(each[task] for each in rows.values() if task in each)[0])
        means = [estimate_of(each.get(task, ()), shown.metric, shown.scale) for each in rows.values()]
        best = best_of([one.mean for one in means], shown.lower)
        found[f"{task}: {shown.title}"] = [Cell(text(one), one.mean == best) for one in means]
    return found


def _differences(names: Sequence[str], rows: Rows) -> list[Table]:
    """Differences to the last setting over the seeds that both have."""
    base, lines = names[-1], []
    tasks = tasks_of(rows.get(Key(name), {}) for name in names)
    for name in names[:-1]:
        cells: list[str | Cell] = [f"{name} - {base}"]
        for task in tasks:
            mine, other = (_by_seed(rows.get(Key(each), {}).get(task, ())) for each in (name, base))
            found = paired_difference(mine, other)
            sure = found.low > 0 or found.high < 0
            cells.append("" if found.n < 2 else with_ends(found) + ("" if sure else ", holds 0"))
        if any(cells[1:]):
            lines.append(cells)
    if not lines:
        return []
    notes = ["Differences within a seed, with their 95 % interval. One that holds 0 is no evidence for either side."]
    return [Table(["difference", *tasks], lines, f"Differences to {base}", notes)]


def _by_seed(found: Sequence[Measured]) -> dict[int, float]:
    """In the unit of the tables."""
    if not found:
        return {}
    shown = headline(found[0])
    values = {int(one.content.get("seed") or 0): one.value(shown.metric) for one in found}
    return {seed: shown.scale * value for seed, value in values.items() if value is not None}


def _intervals(rows: Rows) -> list[Picture]:
    """A plot for each task with several rows of which one has several seeds."""
    found = []
    for task in tasks_of(rows.values()):
        mine = {key.title: each[task] for key, each in rows.items() if task in each}
        if len(mine) < 2 or all(len(each) < 2 for each in mine.values()):
            continue
        shown = headline(next(iter(mine.values()))[0])
        estimates = {name: estimate_of(each, shown.metric, shown.scale) for name, each in mine.items()}
        bars = {
            name: (one.mean, one.mean, one.mean) if one.n < 2 else (one.mean, one.low, one.high)
            for name, one in estimates.items()
            if one.n
        }
        figure = interval_plot(bars, shown.title, task)
        caption = f"{task}: means over seeds with 95 % intervals; a point without one is a single seed."
        found.append(Picture(f"seeds_{task}", figure, caption, f"Intervals of {task}"))
    return found


def learned_line(runs: Sequence[Run]) -> str:
    """The outcome of one setting in a sentence; empty where nothing can be said."""
    rows = rows_of(runs)
    names = list(dict.fromkeys(run.name for run in runs if run.measured))
    if len(names) != 1:
        return ""
    kinds: dict[str, list[str]] = {}
    for line in verdicts(names[0], rows):
        kind, _, rest = line.partition(": ")
        kinds.setdefault(kind, []).append(rest.partition(" (")[0])
    return "; ".join(f"{kind.lower()}: {', '.join(tasks)}" for kind, tasks in kinds.items())
