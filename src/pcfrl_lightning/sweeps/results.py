"""What ablations and sweeps write and reports read: results.csv and a description; and their tables as text."""

import csv
import json
import math
from ast import literal_eval
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.evaluate.statistics import Estimate, estimate, paired_difference
from pcfrl_lightning.files import replacing
from pcfrl_lightning.sweeps.metrics import Metric
from pcfrl_lightning.sweeps.metrics import metric as metric_of
from pcfrl_lightning.sweeps.trial import Outcome, Trial

RESULTS = "results.csv"
_OWN = ("variant", "seed", "metric", "value", "state", "error")
_STATES = ("finished", "stopped", "failed")
_AGAIN = "the command that made it writes it again, without running anything twice"

Values = dict[str, dict[int, float]]
"""A metric by variant and seed."""


def write_results(path: Path, outcomes: Iterable[Outcome], metrics: Sequence[Metric]) -> None:
    """A line for each run and metric: ``variant,seed,<swept keys>,metric,value,state,error``."""
    known = [outcome for outcome in outcomes if outcome.state != "interrupted"]
    swept = list(dict.fromkeys(key for outcome in known for key in outcome.trial.values))
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["variant", "seed", *swept, *_OWN[2:]])
        for outcome in known:
            trial = outcome.trial
            parameters = [trial.values.get(key, "") for key in swept]
            for metric in metrics:
                value = outcome.values.get(metric.name, "")
                writer.writerow([trial.name, trial.seed, *parameters, metric.name, value, outcome.state, outcome.error])


def read_results(path: Path) -> list[Outcome]:
    """The outcomes of `write_results`, without what it does not write: command lines, histories and times.

    UsageError if the file is no such table, or a cell of another kind.
    """
    found: dict[tuple[str, str], Outcome] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                name, seed = line["variant"], line["seed"]
                if line["state"] not in _STATES:
                    raise ValueError(f"state {line['state']!r}")
                if None in line:
                    raise ValueError(f"cells behind the last column: {line[None]}")
                if (name, seed) not in found:
                    swept = {key: _value(text) for key, text in line.items() if key not in _OWN}
                    trial = Trial(name, int(seed), (), path.parent, swept)
                    found[name, seed] = Outcome(trial, line["state"], error=line["error"])
                if line["value"]:
                    found[name, seed].values[line["metric"]] = float(line["value"])
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise UsageError(f"{path} is no results of an ablation or a sweep ({error!r}): {_AGAIN}") from None
    return list(found.values())


@dataclass(frozen=True)
class Description:
    """What stands beside results.csv, in ablation.json or sweep.json."""

    title: str  # of the table
    metrics: tuple[Metric, ...]  # the first one is that of the plot
    variants: tuple[str, ...] = ()  # names in the order of the table, of an ablation
    axis: str | None = (
        None  # name of the number that the variants are called by, for a curve; None: they are no numbers
    )
    paper: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # what it prints, by column and variant

    def write(self, path: Path) -> None:
        content = {each.name: getattr(self, each.name) for each in fields(Description)}
        content["metrics"] = {each.name: each.goal for each in self.metrics}
        with replacing(path) as part:
            part.write_text(json.dumps(content, indent=1), encoding="utf-8")


def read_description(path: Path) -> Description:
    """What `Description.write` wrote; UsageError if an entry is absent or of another kind."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        metrics = tuple(metric_of(name, goal) for name, goal in content["metrics"].items())
        return Description(**{**content, "metrics": metrics, "variants": tuple(content["variants"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"{path} is no description of an ablation or a sweep ({error!r}): {_AGAIN}") from None


def values_of(outcomes: Iterable[Outcome], metric: Metric) -> Values:
    """Values of the runs that finished, in the unit of the tables."""
    found: Values = {}
    for outcome in outcomes:
        if outcome.state == "finished" and metric.name in outcome.values:
            shown = metric.shown(outcome.values[metric.name])
            found.setdefault(outcome.trial.name, {})[outcome.trial.seed] = shown
    return found


def ablation_table(
    variants: Sequence[str], values: Values, metric: Metric, paper: Mapping[str, Mapping[str, float]]
) -> list[list[str]]:
    """Rows of text, the head first: mean, standard deviation, and the paired difference from the first variant."""
    first = values.get(variants[0], {})
    head = ["variant", metric.label, "seeds", f"minus {variants[0]} (95 %)"]
    rows = [[*head, *(f"paper: {column}" for column in paper)]]
    for name in variants:
        found = estimate(values.get(name, {}).values())
        difference = paired_difference(values.get(name, {}), first)
        against = "" if name == variants[0] else _with_interval(difference)
        printed = [f"{row[name]:g}" if name in row else "" for row in paper.values()]
        rows.append([name, _with_deviation(found), str(found.n), against, *printed])
    return rows


def sweep_table(outcomes: Sequence[Outcome], metric: Metric) -> list[list[str]]:
    """Rows of text, the head first, the best trial next."""
    keys = swept_names(outcomes)
    rows = [["trial", *keys.values(), metric.name, "state"]]
    for outcome in ranked(outcomes, metric):
        value = outcome.values.get(metric.name)
        shown = "" if value is None else f"{value:.4f}"
        state = f"{outcome.state}: {outcome.error}" if outcome.error else outcome.state
        rows.append([outcome.trial.name, *(shown_value(outcome.trial.values[key]) for key in keys), shown, state])
    return rows


def shown_value(value: Any) -> str:
    """A swept value in a table: four digits of a number that a search drew; results.csv has all of them."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def ranked(outcomes: Iterable[Outcome], metric: Metric) -> list[Outcome]:
    """Finished trials, the best first, then stopped ones, then those without a value."""

    def rank(outcome: Outcome) -> tuple[int, float]:
        order = _STATES.index(outcome.state) if outcome.values else 2
        return order, -metric.sign * outcome.values.get(metric.name, math.nan) if outcome.values else 0.0

    return sorted((outcome for outcome in outcomes if outcome.state != "interrupted"), key=rank)


def swept_names(outcomes: Iterable[Outcome]) -> dict[str, str]:
    """What a table calls each swept key: its last part, where no other one ends in the same."""
    keys = list(dict.fromkeys(key for outcome in outcomes for key in outcome.trial.values))
    ends = [key.rpartition(".")[2] for key in keys]
    return {key: end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)}


def points_of(outcomes: Iterable[Outcome], metric: Metric) -> list[dict[str, Any]]:
    """Swept values and the metric of each trial that has one, for `parallel_coordinates`."""
    known = [outcome for outcome in outcomes if metric.name in outcome.values]
    return [{**outcome.trial.values, metric.name: outcome.values[metric.name]} for outcome in known]


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table of text as Markdown."""
    head, *body = [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body]) + "\n"


def _with_deviation(found: Estimate) -> str:
    if not found.n:
        return "-"
    return f"{found.mean:.4g}" if math.isnan(found.deviation) else f"{found.mean:.4g} ± {found.deviation:.2g}"


def _with_interval(found: Estimate) -> str:
    if not found.n:
        return "-"
    interval = "" if math.isnan(found.low) else f" [{found.low:+.3g}, {found.high:+.3g}]"
    return f"{found.mean:+.3g}{interval}"


def _value(text: str) -> Any:
    """A swept value: what is no number, list or the like stays text."""
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text
