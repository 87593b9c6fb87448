"""What was learned: every figure beside that of the untrained network, and settings beside each other."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pcfrl_lightning.evaluate.statistics import estimate, paired_difference
from pcfrl_lightning.evaluate.tasks import TASKS
from pcfrl_lightning.figures.curves import interval_plot
from pcfrl_lightning.reports.content import Cell, Picture, Section, Table
from pcfrl_lightning.reports.demo import TASKS as DEMO_TASKS
from pcfrl_lightning.reports.measured import Rows, feature_name, rows_of, tasks_of
from pcfrl_lightning.reports.runs import Measured, Run
from pcfrl_lightning.reports.sections.training import slug

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
        unit = f" in {self.unit}" if self.unit else ""
        return f"{_WORDS.get(self.metric, self.metric.replace('_', ' '))}{unit} {self.arrow}"

    @property
    def arrow(self) -> str:
        """Which way is better."""
        return "\u2193" if self.lower else "\u2191"


def headline(one: Measured) -> Headline:
    """The figure of the task in the table of `pcfrl evaluate`, else what chose the best epoch."""
    known = next((task for task in (*TASKS, *DEMO_TASKS.values()) if task.name == one.task), None)
    if known is not None and known.metric in one.metrics:
        return Headline(known.metric, known.lower_is_better, known.unit)
    chosen = str(one.content.get("chosen_by") or "")
    metric = chosen if chosen in one.metrics else next(key for key, v in one.metrics.items() if isinstance(v, float))
    lower = metric.startswith(("mae", "nme", "eer"))
    return Headline(metric, lower, "" if lower else "%")


def learned_section(runs: Sequence[Run]) -> Section:
    """For one setting its tasks with verdicts; for several a row each, with intervals and differences over seeds."""
    rows = rows_of(runs)
    if not rows:
        return Section("What was learned")
    names = list(dict.fromkeys(run.name for run in runs if run.measured))
    points = [point for name in names for point in verdicts(name, rows, len(names) > 1)]
    if len(names) == 1:
        return Section("What was learned", points=points, tables=[_of_one(names[0], rows)])
    tables, pictures = [_side_by_side(rows), *_differences(names, rows)], _intervals(rows)
    text = [
        "Means over seeds with 95 % intervals of Student's distribution; one seed has no interval."
        if any(len(each) > 1 for found in rows.values() for each in found.values())
        else "One seed of each: differences of a point or two may be chance."
    ]
    return Section("What was learned", text, points, tables, pictures=pictures)


def verdicts(name: str, rows: Rows, named: bool = False) -> list[str]:
    """A sentence for each task of a setting whose F_s was measured untrained and pretrained."""
    before, after = rows.get(f"{name} untrained", {}), rows.get(name, {})
    found = []
    for task in tasks_of({name: after}):
        if task in before:
            label = f"{name}, {task}" if named else task
            found.append(verdict(label, headline(after[task][0]), before[task], after[task]))
    return sorted(found, key=lambda line: not line.startswith("Learned"))


def verdict(task: str, shown: Headline, before: Sequence[Measured], after: Sequence[Measured]) -> str:
    """Whether the pretrained figure is better than the untrained one by more than chance."""
    old, new = (estimate(one.metrics[shown.metric] for one in each).mean for each in (before, after))
    gain = (old - new) if shown.lower else (new - old)
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


def _of_one(name: str, rows: Rows) -> Table:
    """Tasks as rows, weights and features as columns."""
    own = {key: found for key, found in rows.items() if key.startswith(name) or key in ("lbp", "hog", "pixels")}
    tasks = tasks_of(own)
    headings = [_column(key, name) for key in own]
    lines: list[list[str | Cell]] = []
    for task in tasks:
        shown = headline(next(found[task] for found in own.values() if task in found)[0])
        means = [_mean(found.get(task, ()), shown) for found in own.values()]
        best = _best(shown, means)
        cells = [Cell("" if mean is None else f"{shown.scale * mean:.2f}", mean == best) for mean in means]
        lines.append([f"{task}: {shown.title}", *cells])
    notes = [
        "Frozen features, last epoch; the same images, heads, learning rates (chosen on validation images) and seed in "
        "every column. The best figure of a row is bold."
    ]
    return Table(["task", *headings], lines, notes=notes)


def _column(key: str, name: str) -> str:
    feature = key.rpartition(", ")[2] if ", " in key else feature_name("f_s")
    return f"untrained {feature}" if key.startswith(f"{name} untrained") else feature if key.startswith(name) else key


def _side_by_side(rows: Rows) -> Table:
    """Settings as rows, tasks as columns."""
    tasks = tasks_of(rows)
    shown = {task: headline(next(found[task] for found in rows.values() if task in found)[0]) for task in tasks}
    means = {task: [_mean(found.get(task, ()), shown[task]) for found in rows.values()] for task in tasks}
    lines: list[list[str | Cell]] = []
    for number, (key, found) in enumerate(rows.items()):
        cells = []
        for task in tasks:
            best = means[task][number] is not None and means[task][number] == _best(shown[task], means[task])
            cells.append(Cell(_interval(found.get(task, ()), shown[task]), best))
        lines.append([key, *cells])
    headings = [f"{task}: {shown[task].title}" for task in tasks]
    return Table(["setting", *headings], lines, "Settings side by side")


def _differences(names: Sequence[str], rows: Rows) -> list[Table]:
    """Differences to the last setting over the seeds that both have."""
    base, lines = names[-1], []
    tasks = tasks_of({name: rows.get(name, {}) for name in names})
    for name in names[:-1]:
        cells: list[str | Cell] = [f"{name} - {base}"]
        for task in tasks:
            mine, other = (_by_seed(rows.get(each, {}).get(task, ())) for each in (name, base))
            found = paired_difference(mine, other)
            if found.n < 2:
                cells.append("")
                continue
            one = headline(rows[name][task][0])
            low, high = one.scale * found.low, one.scale * found.high
            sure = "" if low > 0 or high < 0 else ", holds 0"
            cells.append(f"{one.scale * found.mean:+.2f} [{low:+.2f}, {high:+.2f}]{sure}")
        if any(cells[1:]):
            lines.append(cells)
    if not lines:
        return []
    notes = ["Differences within a seed, with their 95 % interval. One that holds 0 is no evidence for either side."]
    return [Table(["difference", *tasks], lines, f"Differences to {base}", notes)]


def _by_seed(found: Sequence[Measured]) -> dict[int, float]:
    return {int(one.content.get("seed") or 0): float(one.metrics[headline(one).metric]) for one in found}


def _intervals(rows: Rows) -> list[Picture]:
    """A plot for each task with several rows of which one has several seeds."""
    found = []
    for task in tasks_of(rows):
        mine = {key: each[task] for key, each in rows.items() if task in each}
        if len(mine) < 2 or all(len(each) < 2 for each in mine.values()):
            continue
        shown = headline(next(iter(mine.values()))[0])
        bars = {}
        for key, each in mine.items():
            e = estimate(shown.scale * one.metrics[shown.metric] for one in each)
            bars[key] = (e.mean, e.mean, e.mean) if e.n < 2 else (e.mean, e.low, e.high)
        figure = interval_plot(bars, shown.title, task)
        caption = f"{task}: means over seeds with 95 % intervals; a point without one is a single seed."
        found.append(Picture(f"seeds_{slug(task)}", figure, caption, f"Intervals of {task}"))
    return found


def _interval(found: Sequence[Measured], shown: Headline) -> str:
    e = estimate(shown.scale * one.metrics[shown.metric] for one in found)
    if not e.n:
        return ""
    return f"{e.mean:.2f}" if e.n == 1 else f"{e.mean:.2f} \u00b1 {e.half_width:.2f} (n = {e.n})"


def _mean(found: Sequence[Measured], shown: Headline) -> float | None:
    return estimate(one.metrics[shown.metric] for one in found).mean if found else None


def _best(shown: Headline, means: Sequence[float | None]) -> float | None:
    known = [mean for mean in means if mean is not None]
    if len(known) < 2:
        return None
    return min(known) if shown.lower else max(known)


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


def options(config: Mapping[str, Any], *path: str) -> Any:
    """A value inside a config; None where it has none."""
    value: Any = config
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
