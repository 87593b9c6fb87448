"""The tables that `pcfrl disentangle` prints and writes."""

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Column, Table

_STYLE: dict[str, Any] = {"box": box.SIMPLE_HEAD, "padding": (0, 1, 0, 0)}
_MEASURES = {
    "pose_nearest": ("near", 1.0),
    "identity_same_pose": ("id same", 100.0),
    "identity_other_pose": ("id other", 100.0),
    "verification": ("verif", 100.0),
    "expression": ("expr", 100.0),
}
"""Headings and what the figures are multiplied by."""


def tables(results: Sequence[dict[str, Any]]) -> list[Table]:
    """One table for each set: a line for each encoder and feature, the untrained network above it, chance below."""
    return [_table(name, results) for name in results[0]["measures"]]


def _table(name: str, results: Sequence[dict[str, Any]]) -> Table:
    example = next(iter(results[0]["measures"][name].values()))
    shown = [key for key in _MEASURES if example[key] is not None]
    figures = _columns(*example["pose"], *(_MEASURES[key][0] for key in shown))
    columns = [Column("encoder", overflow="fold"), Column("", no_wrap=True), *figures]
    table = Table(*columns, title=f"{name}: pose error in degrees, shares in %", **_STYLE)
    for result in results:
        for weights, measured in (("untrained", result["untrained"]), (result["name"], result["measures"])):
            for number, (feature, values) in enumerate(measured[name].items()):
                errors = (f"{error:.1f}" for error in values["pose"].values())
                table.add_row("" if number else weights, feature, *errors, *_cells(values, shown))
        table.add_section()
    chance = {key: example.get(f"{key}_chance") for key in shown} | {"verification": 0.5}
    table.add_row("chance", "", *["" for _ in example["pose"]], *_cells(chance, shown))
    verdicts = [result["verdict"][name] for result in results]
    if all(verdicts):
        table.caption = "\n".join(_sentence(each) for each in verdicts)
    return table


def _columns(*headings: str) -> list[Column]:
    return [Column(heading, justify="right", no_wrap=True) for heading in headings]


def _cells(values: dict[str, Any], shown: Sequence[str]) -> list[str]:
    return ["" if values[key] is None else f"{_MEASURES[key][1] * values[key]:.1f}" for key in shown]


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
    quantiles = list(rows[0]["pairs"]["face"]["quantiles"])
    figures = _columns("all", "own", "top-1", *quantiles[1:])
    columns = [Column("encoder", overflow="fold"), *_columns("epoch"), Column("", no_wrap=True), *figures]
    table = Table(*columns, title=title, **_STYLE)
    for result in rows:
        for branch, pairs in result["pairs"].items():
            epoch = "" if result["epoch"] is None else str(result["epoch"])
            each = [pairs["own"], *(pairs["quantiles"][quantile] for quantile in quantiles)]
            table.add_row(result["name"], epoch, branch, f"{100 * pairs['base_rate']:.1f}", *map(_pair, each))
    return [table]


def _pair(shares: dict[str, float | None]) -> str:
    precision, recall = shares["precision"], shares["recall"]
    return "-" if precision is None else f"{100 * precision:.0f}/{100 * (recall or 0):.0f}"
