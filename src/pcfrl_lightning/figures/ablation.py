"""Figures of an ablation: variants beside each other, or a curve over the number that they are called by."""

from collections.abc import Mapping, Sequence
from statistics import fmean

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pcfrl_lightning.figures.style import COLOURS, INK, LINES, MUTED, figure_of, legend_below, look, plain, plot


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
    shown = [name for name in variants if values.get(name)]
    if axis is None:
        axes = plot(metric, "", title, (5.6, 0.9 + 0.4 * max(len(shown), 2)), grid=False)
        _rows(axes, values, shown)
    else:
        axes = plot(axis, metric, title)
        _curve(axes, values, shown)
    return figure_of(axes)


def _rows(axes: Axes, values: Mapping[str, Mapping[int, float]], names: Sequence[str]) -> None:
    for row, name in enumerate(names):
        found = list(values[name].values())
        axes.plot(found, [row] * len(found), "o", color=MUTED, markersize=4, alpha=0.6, linestyle="none")
        axes.plot(fmean(found), row, "|", color=COLOURS[0], markersize=16, markeredgewidth=2.5)
    axes.set_yticks(range(len(names)), [plain(name) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.axvline(fmean(values[names[0]].values()), color=INK, linewidth=0.8, linestyle=":")


def _curve(axes: Axes, values: Mapping[str, Mapping[int, float]], names: Sequence[str]) -> None:
    numbers = {name: number for name in names if (number := _number(name)) is not None}
    order = sorted(numbers, key=lambda name: numbers[name])
    axes.plot([numbers[name] for name in order], [fmean(values[name].values()) for name in order], color=COLOURS[0])
    for name in order:
        found = list(values[name].values())
        axes.plot([numbers[name]] * len(found), found, "o", color=COLOURS[0], markersize=4, alpha=0.6)
    others = [name for name in names if name not in numbers]
    for count, name in enumerate(others, start=1):
        colour, line = COLOURS[count % len(COLOURS)], LINES[count % len(LINES)]
        axes.axhline(fmean(values[name].values()), label=name, color=colour, linestyle=line)
    legend_below(axes, 4)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
