"""The tables that `pcfrl disentangle` prints and writes."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

_MEASURES = (
    ("pose_nearest", "near", 1.0, ".1f"),
    ("identity_same_pose", "id same", 100.0, ".1f"),
    ("identity_other_pose", "id other", 100.0, ".1f"),
    ("verification", "verif", 100.0, ".1f"),
    ("expression", "expr", 100.0, ".1f"),
)


def tables(results: Sequence[dict[str, Any]]) -> list[Table]:
    """One table for each set: a line for each encoder and feature, the untrained network above it, chance below."""
    return [_table(name, results) for name in results[0]["measures"]]


def _table(name: str, results: Sequence[dict[str, Any]]) -> Table:
    example = next(iter(results[0]["measures"][name].values()))
    table = Table(title=f"{name}: pose error in degrees, shares in %", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("encoder", overflow="fold")
    table.add_column("", no_wrap=True)
    shown = [key for key, *_ in _MEASURES if example[key] is not None]
    headings = {key: heading for key, heading, *_ in _MEASURES}
    for heading in [*example["pose"], *(headings[key] for key in shown)]:
        table.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        for weights, measured in (("untrained", result["untrained"]), (result["name"], result["measures"])):
            for number, (feature, values) in enumerate(measured[name].items()):
                table.add_row("" if number else escape(weights), feature, *_cells(values, shown))
        table.add_section()
    chance = {key: example.get(f"{key}_chance") for key in shown} | {"verification": 0.5}
    table.add_row("chance", "", *["" for _ in example["pose"]], *(_cell(key, chance[key]) for key in shown))
    verdicts = [result["verdict"][name] for result in results]
    if all(verdicts):
        table.caption = "\n".join(_sentence(each) for each in verdicts)
    return table


def _cells(values: dict[str, Any], shown: Sequence[str]) -> list[str]:
    return [*(f"{error:.1f}" for error in values["pose"].values()), *(_cell(key, values[key]) for key in shown)]


def _cell(key: str, value: float | None) -> str:
    scale, form = next((scale, form) for name, _, scale, form in _MEASURES if name == key)
    return "" if value is None else format(scale * value, form)


def _sentence(verdict: dict[str, Any]) -> str:
    right = "the right way round" if verdict["right_way_round"] else "not the right way round"
    return (
        f"F_p against F_f: pose error {-verdict['pose_gap']:+.2f} degrees, identity in another pose "
        f"{-100 * verdict['identity_gap']:+.1f} points: {right}"
    )


def pairs_table(results: Sequence[dict[str, Any]]) -> list[Table]:
    """Precision and recall of calibrated pairs by checkpoint; empty where no encoder has any."""
    rows = [result for result in results if result["pairs"]]
    if not rows:
        return []
    title = "calibrated pairs, precision/recall in %: of all pairs, own T, top-1, T at quantiles of the row maxima"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("encoder", overflow="fold")
    table.add_column("epoch", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    quantiles = list(rows[0]["pairs"]["face"]["quantiles"])
    for heading in ("all", "own", "top-1", *quantiles[1:]):
        table.add_column(heading, justify="right", no_wrap=True)
    for result in rows:
        for branch, pairs in result["pairs"].items():
            epoch = "" if result["epoch"] is None else str(result["epoch"])
            each = [pairs["own"], *(pairs["quantiles"][quantile] for quantile in quantiles)]
            figures = [f"{100 * pairs['base_rate']:.1f}", *map(_pair, each)]
            table.add_row(escape(result["name"]), epoch, branch, *figures)
    return [table]


def _pair(shares: dict[str, float | None]) -> str:
    precision, recall = shares["precision"], shares["recall"]
    return "-" if precision is None else f"{100 * precision:.0f}/{100 * (recall or 0):.0f}"
