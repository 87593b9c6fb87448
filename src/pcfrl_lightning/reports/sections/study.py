"""Ablations and sweeps: a row per variant or trial, and a plot of each metric (Fig. 6, 7c)."""

from pcfrl_lightning.evaluate.statistics import estimate, paired_difference
from pcfrl_lightning.figures.ablation import ablation_figure
from pcfrl_lightning.figures.parallel_coordinates import parallel_coordinates
from pcfrl_lightning.reports.content import Cell, Picture, Section, Table
from pcfrl_lightning.reports.measured import best_of, with_ends, with_interval
from pcfrl_lightning.reports.runs import Run, Study
from pcfrl_lightning.sweeps.metrics import Metric
from pcfrl_lightning.sweeps.results import points_of, ranked, shown_value, swept_names, values_of


def study_section(run: Run) -> Section:
    """Tables and plots of one folder of `pcfrl ablate` or `pcfrl sweep`."""
    study = run.study
    assert study is not None
    unfinished = [
        f"{outcome.trial.title}: {outcome.state} {outcome.error}".strip()
        for outcome in study.outcomes
        if outcome.state != "finished"
    ]
    text = ["Runs that did not finish: " + "; ".join(unfinished) + "."] if unfinished else []
    table = _variants(study) if study.about.variants else _trials(study)
    pictures = [each for metric in study.about.metrics if (each := _picture(run, study, metric))]
    return Section(study.about.title, text, tables=[table], pictures=pictures)


def _variants(study: Study) -> Table:
    about, first = study.about, study.about.variants[0]
    columns: list[tuple[str, list[str | Cell]]] = []
    for metric in about.metrics:
        values = values_of(study.outcomes, metric)
        found = {name: estimate(values.get(name, {}).values()) for name in about.variants}
        best = best_of([each.mean for each in found.values()], metric.sign < 0)
        columns.append((metric.label, [Cell(with_interval(each), each.mean == best) for each in found.values()]))
        apart = [paired_difference(values.get(name, {}), values.get(first, {})) for name in about.variants[1:]]
        if apart:
            columns.append((f"minus {first}", ["", *(with_ends(each) for each in apart)]))
    for column, printed in about.paper.items():
        cells = [f"{printed[name]:g}" if name in printed else "" for name in about.variants]
        columns.append((f"paper: {column}", list(cells)))
    notes = [
        "Mean over seeds \u00b1 half of the 95 % interval; differences are within a seed, with their interval. The "
        "best mean is bold."
    ]
    rows = [list(row) for row in zip(about.variants, *(cells for _, cells in columns), strict=True)]
    return Table(["variant", *(heading for heading, _ in columns)], rows, notes=notes)


def _trials(study: Study) -> Table:
    (metric,) = study.about.metrics
    keys, rows = swept_names(study.outcomes), list[list[str | Cell]]()
    for number, outcome in enumerate(ranked(study.outcomes, metric)):
        trial, value = outcome.trial, outcome.values.get(metric.name)
        shown = Cell("" if value is None else f"{metric.shown(value):.2f}", number == 0)
        values = [shown_value(trial.values[key]) for key in keys]
        rows.append([trial.name, str(trial.seed), *values, shown, outcome.state])
    headings = ["trial", "seed", *keys.values(), metric.label, "state"]
    return Table(headings, rows, f"Trials, the best {metric.name} first")


def _picture(run: Run, study: Study, metric: Metric) -> Picture | None:
    about = study.about
    if about.variants:
        values = values_of(study.outcomes, metric)
        if not values:
            return None
        figure = ablation_figure(values, about.variants, metric.label, about.axis, about.title)
        caption = f"{about.title}: {metric.name}; a mean of each variant, and its seeds as points."
    else:
        points = points_of(ranked(study.outcomes, metric), metric)
        if not points:
            return None
        figure = parallel_coordinates(points, metric.sign > 0, about.title)
        caption = f"{about.title}: a line for each trial, the lighter the better its {metric.name}."
    return Picture(f"{run.label}_{metric.name}", figure, caption, f"{about.title}: {metric.name}")
