"""What ablations and sweeps write: results.csv, and a table with means, deviations and paired differences."""

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pcfrl_lightning.evaluate.statistics import Estimate, estimate, paired_difference
from pcfrl_lightning.files import replacing
from pcfrl_lightning.sweeps.metrics import Metric
from pcfrl_lightning.sweeps.trial import Outcome

Values = dict[str, dict[int, float]]
"""A metric by variant and seed."""


def write_results(path: Path, outcomes: Iterable[Outcome], metrics: Sequence[Metric]) -> None:
    """A line for each run and metric: ``variant,seed,<swept keys>,metric,value,state,error``."""
    known = [outcome for outcome in outcomes if outcome.state != "interrupted"]
    swept = list(dict.fromkeys(key for outcome in known for key in outcome.trial.values))
    with replacing(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["variant", "seed", *swept, "metric", "value", "state", "error"])
        for outcome in known:
            trial = outcome.trial
            parameters = [trial.values.get(key, "") for key in swept]
            for metric in metrics:
                value = outcome.values.get(metric.name, "")
                writer.writerow([trial.name, trial.seed, *parameters, metric.name, value, outcome.state, outcome.error])


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """What a report has to know about the results."""
    with replacing(path) as part:
        part.write_text(json.dumps(content, indent=1), encoding="utf-8")


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
    head = ["variant", f"{metric.name}{', %' if metric.percent else ''}", "seeds", f"minus {variants[0]} (95 %)"]
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
    keys = list(dict.fromkeys(key for outcome in outcomes for key in outcome.trial.values))
    rows = [["trial", *(key.rpartition(".")[2] if _unique(key, keys) else key for key in keys), metric.name, "state"]]
    for outcome in ranked(outcomes, metric):
        value = outcome.values.get(metric.name)
        shown = "" if value is None else f"{value:.4f}"
        state = f"{outcome.state}: {outcome.error}" if outcome.error else outcome.state
        rows.append([outcome.trial.name, *(f"{outcome.trial.values[key]}" for key in keys), shown, state])
    return rows


def ranked(outcomes: Iterable[Outcome], metric: Metric) -> list[Outcome]:
    """Finished trials, the best first, then stopped ones, then those without a value."""

    def rank(outcome: Outcome) -> tuple[int, float]:
        order = ("finished", "stopped").index(outcome.state) if outcome.values else 2
        return order, -metric.sign * outcome.values.get(metric.name, math.nan) if outcome.values else 0.0

    return sorted((outcome for outcome in outcomes if outcome.state != "interrupted"), key=rank)


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


def _unique(key: str, keys: Sequence[str]) -> bool:
    end = key.rpartition(".")[2]
    return sum(other.rpartition(".")[2] == end for other in keys) == 1
