"""Figures of an ablation: variants beside each other, or a curve over the number that they are called by."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pcfrl_lightning.figures.style import COLOURS, INK, LINES, MUTED, figure_of, legend_below, look, named, plain, plot


@look()
def ablation_figure(
    values: Mapping[str, Mapping[int, float]], variants: Sequence[str], metric: str, axis: str | None, title: str
) -> Figure:
    """Mean of each variant over its seeds, with every seed as a small point.

    Args:
        values: by variant and seed; variants without values are left out.
        variants: names in the order of the plot.
        metric: label of the values.
        axis: label of the numbers that variants are called by, for a curve; a variant that is called otherwise is a
            horizontal line. None: one row for each variant.
    """
    shown = {name: list(values[name].values()) for name in variants if values.get(name)}
    if axis is None:
        axes = plot(metric, "", title, (5.6, 0.9 + 0.4 * max(len(shown), 2)), grid=False)
        _rows(axes, shown)
    else:
        axes = plot(axis, metric, title)
        _curve(axes, shown)
    return figure_of(axes)


def _rows(axes: Axes, values: Mapping[str, list[float]]) -> None:
    for row, found in enumerate(values.values()):
        axes.plot(found, [row] * len(found), "o", color=MUTED, markersize=4, alpha=0.6, linestyle="none")
        axes.plot(fmean(found), row, "|", color=COLOURS[0], markersize=16, markeredgewidth=2.5)
    axes.set_yticks(range(len(values)), [plain(name) for name in values])
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.axvline(fmean(next(iter(values.values()))), color=INK, linewidth=0.8, linestyle=":")


def _curve(axes: Axes, values: Mapping[str, list[float]]) -> None:
    points = sorted((number, found) for name, found in values.items() if (number := _number(name)) is not None)
    axes.plot([number for number, _ in points], [fmean(found) for _, found in points], color=COLOURS[0])
    for number, found in points:
        axes.plot([number] * len(found), found, "o", color=COLOURS[0], markersize=4, alpha=0.6)
    others = [name for name in values if _number(name) is None]
    for count, name in enumerate(others, start=1):
        colour, line = COLOURS[count % len(COLOURS)], LINES[count % len(LINES)]
        axes.axhline(fmean(values[name]), label=named(name), color=colour, linestyle=line)
    legend_below(axes, 4)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
