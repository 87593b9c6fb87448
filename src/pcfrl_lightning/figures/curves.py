"""Curves of losses and weights while training, and intervals of figures over seeds."""

from collections.abc import Mapping, Sequence

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
        colour, line = style.COLOURS[number % len(style.COLOURS)], style.LINES[number % len(style.LINES)]
        marker = style.MARKERS[number % len(style.MARKERS)] if len(across) <= 12 else None
        axes.plot(across, up, color=colour, linestyle=line, label=style.plain(label) or None, marker=marker)
    if x == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    style.legend_below(style.figure_of(axes), axes, 2)
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
    axes = style.plot(style.plain(x), "", style.plain(title), (4.6, height), grid=False)
    axes.grid(axis="x", color=style.GRID, linewidth=0.8)
    for row, (mean, low, high) in enumerate(estimates.values()):
        axes.errorbar(mean, row, xerr=[[mean - low], [high - mean]], fmt="o", color=style.POSE, capsize=4)
    axes.set_yticks(range(len(estimates)), [style.plain(label) for label in estimates])
    axes.set_ylim(len(estimates) - 0.5, -0.5)
    return style.figure_of(axes)
