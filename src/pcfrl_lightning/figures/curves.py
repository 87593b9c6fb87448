"""Curves of losses and weights while training, and intervals of figures over seeds."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pcfrl_lightning.figures import style

Line = tuple[Sequence[float], Sequence[float]]


@style.look()
def training_curve(lines: Mapping[str, Line], title: str, y: str) -> Figure:
    """Values against epochs, a line for each run or branch: x and y by label; an empty label gets no legend."""
    axes = style.plot("epoch", y, title, (4.2, 2.9))
    style.draw_lines(axes, lines, marked=12)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return style.figure_of(axes)


@style.look()
def interval_plot(estimates: Mapping[str, tuple[float, float, float]], x: str, title: str) -> Figure:
    """Means with their intervals, a row each, the first on top: mean, low and high by label."""
    height = max(1.7, 0.36 * len(estimates) + 1.0)
    axes = style.plot(x, "", title, (4.6, height), grid=False)
    axes.grid(axis="x", color=style.GRID, linewidth=0.8)
    for row, (mean, low, high) in enumerate(estimates.values()):
        axes.errorbar(mean, row, xerr=[[mean - low], [high - mean]], fmt="o", color=style.POSE, capsize=4)
    axes.set_yticks(range(len(estimates)), [style.plain(label) for label in estimates])
    axes.set_ylim(len(estimates) - 0.5, -0.5)
    return style.figure_of(axes)
