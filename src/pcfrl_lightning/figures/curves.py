"""Curves: losses and weights while training, and a figure against a setting (Fig. 6, 7c)."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pcfrl_lightning.figures import style

Line = tuple[Sequence[float], Sequence[float]]


@style.look()
def training_curve(lines: Mapping[str, Line], title: str, y: str, x: str = "epoch") -> Figure:
    """Values against epochs, a line for each run or branch.

    Args:
        lines: x and y by label; a label that is empty gets no legend.
        title: what is seen.
        y: label of the vertical axis, with the unit.
        x: label of the horizontal axis.
    """
    axes = style.plot(x, y, title, (4.2, 2.9))
    for number, (label, (across, up)) in enumerate(lines.items()):
        few = len(across) <= 12
        axes.plot(across, up, **_line(number), label=label or None, marker=style.MARKERS[number % 8] if few else None)
    if x == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.legend_below(style.figure_of(axes), axes, 2)
    return style.figure_of(axes)


class Point(NamedTuple):
    """A figure at one value of a setting, with its interval over seeds; without one, ``low`` and ``high`` equal it."""

    x: float
    mean: float
    low: float
    high: float


@style.look()
def setting_curve(
    curves: Mapping[str, Sequence[Point]], x: str, y: str, title: str, chosen: float | None = None
) -> Figure:
    """Fig. 6 and 7c: a figure against a setting such as alpha, beta or T, a line per task or metric.

    Args:
        curves: points by label, by rising x.
        x: the setting.
        y: the figure, with its unit.
        title: what is seen.
        chosen: the paper's value of the setting, a vertical line.
    """
    axes = style.plot(x, y, title)
    for number, (label, points) in enumerate(curves.items()):
        across, mean = [point.x for point in points], [point.mean for point in points]
        below = [max(0.0, point.mean - point.low) for point in points]
        above = [max(0.0, point.high - point.mean) for point in points]
        marker = style.MARKERS[number % len(style.MARKERS)]
        axes.errorbar(across, mean, [below, above], **_line(number), marker=marker, capsize=3, label=label)
    if chosen is not None:
        axes.axvline(chosen, color=style.MUTED, linewidth=1.2, linestyle=":", label=f"paper: {chosen:g}")
    style.legend_below(style.figure_of(axes), axes, 3)
    return style.figure_of(axes)


@style.look()
def interval_plot(estimates: Mapping[str, tuple[float, float, float]], x: str, title: str) -> Figure:
    """Means with their intervals, a row each, the first on top.

    Args:
        estimates: mean, low and high by label.
        x: the figure, with its unit.
        title: what is seen.
    """
    height = max(1.7, 0.36 * len(estimates) + 1.0)
    axes = style.plot(x, "", title, (4.6, height), grid=False)
    axes.grid(axis="x", color=style.GRID, linewidth=0.8)
    for row, (mean, low, high) in enumerate(estimates.values()):
        axes.errorbar(mean, row, xerr=[[mean - low], [high - mean]], fmt="o", color=style.POSE, capsize=4)
    axes.set_yticks(range(len(estimates)), list(estimates))
    axes.set_ylim(len(estimates) - 0.5, -0.5)
    return style.figure_of(axes)


def _line(number: int) -> Any:
    colours, lines = style.COLOURS, style.LINES
    return {"color": colours[number % len(colours)], "linestyle": lines[number % len(lines)]}
