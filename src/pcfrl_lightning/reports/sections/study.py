"""Ablations and sweeps: a row per variant with its seeds, and curves over a setting (Fig. 6, 7c)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pcfrl_lightning.evaluate.statistics import Estimate, estimate, paired_difference
from pcfrl_lightning.evaluate.tasks import TASKS
from pcfrl_lightning.figures.curves import Point, interval_plot, setting_curve
from pcfrl_lightning.reports.content import Cell, Picture, Section, Table
from pcfrl_lightning.reports.runs import Run, Study
from pcfrl_lightning.reports.sections.training import slug

_OWN = ("variant", "seed", "metric", "value", "state", "error")
Values = dict[str, dict[int, float]]
"""A metric by variant and seed."""


def study_section(run: Run) -> Section:
    """Tables and curves of one folder of `pcfrl ablate` or `pcfrl sweep`."""
    study = run.study
    assert study is not None
    title = str(study.about.get("title") or run.name)
    metrics = list(dict.fromkeys(row["metric"] for row in study.rows))
    swept = [key for key in (study.rows[0] if study.rows else {}) if key not in _OWN]
    states = {(row["variant"], row["seed"]): row for row in study.rows}
    unfinished = [
        f"{variant}, seed {seed}: {row['state']} {row.get('error', '')}".strip()
        for (variant, seed), row in states.items()
        if row["state"] != "finished"
    ]
    if swept:
        tables = [_trials(study, metrics, swept)]
        pictures = [each for metric in metrics for key in swept if (each := _swept(run, study, metric, key))]
    else:
        tables = [_variants(study, metrics)]
        pictures = [each for metric in metrics if (each := _figure(run, study, metric))]
    text = ["Runs that did not finish: " + "; ".join(unfinished) + "."] if unfinished else []
    return Section(title, text, tables=tables, pictures=pictures)


def values_of(study: Study, metric: str) -> Values:
    """Values of finished runs, shares in percent."""
    found: Values = {}
    for row in study.rows:
        if row["metric"] == metric and row["state"] == "finished" and row["value"]:
            scale = 100 if is_share(metric) else 1
            found.setdefault(row["variant"], {})[int(row["seed"])] = scale * float(row["value"])
    return found


def is_share(metric: str) -> bool:
    """Whether a metric is in [0, 1] and shown in percent."""
    task = next((task for task in TASKS if task.name == metric), None)
    return task.unit == "%" if task else metric.endswith(("accuracy", "_f1", "share"))


def _variants(study: Study, metrics: Sequence[str]) -> Table:
    paper = _paper(study.about)
    names = list(dict.fromkeys(row["variant"] for row in study.rows))
    rows: list[list[str | Cell]] = []
    every = {metric: values_of(study, metric) for metric in metrics}
    for name in names:
        cells: list[str | Cell] = [name]
        for metric, values in every.items():
            means = {key: estimate(each.values()).mean for key, each in values.items()}
            best = (max if _larger(study.about, metric) else min)(means.values(), default=None)
            cells.append(
                Cell(_told(estimate(values.get(name, {}).values())), means.get(name) == best and len(means) > 1)
            )
            cells.append(
                _difference(paired_difference(values.get(name, {}), values.get(names[0], {})))
                if name != names[0]
                else ""
            )
        cells += [f"{row[name]:g}" if name in row else "" for row in paper.values()]
        rows.append(cells)
    measured = [head for metric in metrics for head in (_named(metric), f"minus {names[0]}")]
    notes = [
        "Mean over seeds \u00b1 half of the 95 % interval; differences are within a seed, with their interval. The "
        "best mean is bold."
    ]
    return Table(["variant", *measured, *(f"paper: {column}" for column in paper)], rows, notes=notes)


def _trials(study: Study, metrics: Sequence[str], swept: Sequence[str]) -> Table:
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for row in study.rows:
        line = lines.setdefault((row["variant"], row["seed"]), {key: row[key] for key in (*swept, "state")})
        line[row["metric"]] = row["value"]
    first = metrics[0]
    sign = -1 if _larger(study.about, first) else 1
    order = sorted(
        lines, key=lambda key: sign * float(lines[key].get(first) or "nan") if lines[key].get(first) else 1e9
    )
    rows: list[list[str | Cell]] = []
    for number, key in enumerate(order):
        line = lines[key]
        shown = [Cell(_value(line.get(metric, ""), metric), number == 0) for metric in metrics]
        rows.append([key[0], key[1], *(line[each] for each in swept), *shown, line["state"]])
    headings = ["trial", "seed", *(key.rpartition(".")[2] for key in swept), *map(_named, metrics), "state"]
    return Table(headings, rows, f"Trials, the best {first} first")


def _figure(run: Run, study: Study, metric: str) -> Picture | None:
    """A curve where variants are called by numbers, else a row per variant."""
    values = values_of(study, metric)
    numbers = {name: float(name) for name in values if _is_number(name)}
    title = str(study.about.get("title") or run.name)
    if len(numbers) >= 3 or (len(numbers) == len(values) >= 2):
        points = [
            _point(numbers[name], values[name].values()) for name in sorted(numbers, key=lambda each: numbers[each])
        ]
        axis = str(study.about.get("axis") or study.about.get("x") or "setting")
        figure = setting_curve({"here": points}, axis, _named(metric), title.partition(":")[0])
    elif len(values) >= 2:
        points = [_point(0, each.values()) for each in values.values()]
        bars = {name: (point.mean, point.low, point.high) for name, point in zip(values, points, strict=True)}
        figure = interval_plot(bars, _named(metric), title.partition(":")[0])
    else:
        return None
    caption = f"{title}: {metric}; bars are 95 % intervals over seeds, where there are several."
    return Picture(f"{slug(run.name)}_{slug(metric)}", figure, caption, title)


def _swept(run: Run, study: Study, metric: str, key: str) -> Picture | None:
    """The metric of every trial against one swept number."""
    known: dict[float, list[float]] = {}
    for row in study.rows:
        if row["metric"] == metric and row["state"] == "finished" and row["value"] and _is_number(row[key]):
            known.setdefault(float(row[key]), []).append((100 if is_share(metric) else 1) * float(row["value"]))
    if len(known) < 2:
        return None
    points = [_point(number, known[number]) for number in sorted(known)]
    name = key.rpartition(".")[2]
    figure = setting_curve({"mean over trials": points}, name, _named(metric), f"{metric} against {name}")
    caption = f"{metric} against {key}; bars are 95 % intervals over the trials with this value."
    return Picture(f"{slug(run.name)}_{slug(metric)}_{slug(name)}", figure, caption, f"{metric} against {name}")


def _point(x: float, values: Iterable[float]) -> Point:
    found = estimate(values)
    return Point(x, found.mean, *((found.low, found.high) if found.n > 1 else (found.mean, found.mean)))


def _paper(about: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """The printed values, by column and variant."""
    given = about.get("paper") or {}
    if given and not all(isinstance(value, Mapping) for value in given.values()):
        return {str(about.get("metric", "value")): given}
    return dict(given)


def _larger(about: Mapping[str, Any], metric: str) -> bool:
    """Whether larger is better."""
    metrics = about.get("metrics")
    if isinstance(metrics, Mapping) and metric in metrics:
        return metrics[metric] not in ("minimize", False)
    task = next((task for task in TASKS if task.name == metric), None)
    return not task.lower_is_better if task else bool(about.get("larger_is_better", True))


def _named(metric: str) -> str:
    name = metric.removeprefix("monitor/").replace("_", " ")
    return f"{name}, %" if is_share(metric) else name


def _value(text: str, metric: str) -> str:
    return f"{(100 if is_share(metric) else 1) * float(text):.2f}" if text else ""


def _told(found: Estimate) -> str:
    if not found.n:
        return ""
    return f"{found.mean:.2f}" if found.n == 1 else f"{found.mean:.2f} \u00b1 {found.half_width:.2f} (n = {found.n})"


def _difference(found: Estimate) -> str:
    if not found.n:
        return ""
    return f"{found.mean:+.2f}" if found.n == 1 else f"{found.mean:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
