"""Trials of a sweep as lines through parallel axes, one for each swept key and one for the metric."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from pcfrl_lightning.figures.style import HEAT, INK, MUTED, figure_of, plain, plot


def parallel_coordinates(points: Sequence[Mapping[str, Any]], larger_is_better: bool, title: str) -> Figure:
    """One line for each trial, the lighter the better; the ends of each axis are the least and the largest value.

    Args:
        points: values of the swept keys, then the metric, by name; at least one point, all with the same names.
        larger_is_better: whether the largest metric is the best.
        title: of the plot.
    """
    keys = list(points[0])
    heights = {key: _heights([point[key] for point in points]) for key in keys}
    axes = plot("", "", title, (max(4.6, 1.6 * len(keys)), 3.4), grid=False)
    colours = matplotlib.colormaps[HEAT]
    for index in reversed(range(len(points))):  # the first is the best, drawn last
        line = [heights[key][index] for key in keys]
        quality = line[-1] if larger_is_better else 1 - line[-1]
        axes.plot(range(len(keys)), line, color=colours(0.9 * quality), marker="o", markersize=4, linewidth=1.5)
    for position, key in enumerate(keys):
        axes.axvline(position, color=MUTED, linewidth=0.8, zorder=0)
        for height, text in _ticks([point[key] for point in points], heights[key]):
            written = axes.annotate(text, (position, height), (5, 0), "data", "offset points", va="center", fontsize=8)
            written.set(color=INK, bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5})
    axes.set_xticks(range(len(keys)), [plain(".".join(key.split(".")[-2:])) for key in keys], fontsize=8)
    axes.set_xlim(-0.2, len(keys) - 0.5)
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    return figure_of(axes)


def _heights(values: Sequence[Any]) -> list[float]:
    """In [0, 1]: by value where all are numbers, else by rank."""
    if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values):
        order = sorted({str(value) for value in values})
        values = [order.index(str(value)) for value in values]
    low, high = min(values), max(values)
    return [(value - low) / (high - low) if high > low else 0.5 for value in values]


def _ticks(values: Sequence[Any], heights: Sequence[float]) -> list[tuple[float, str]]:
    """The ends of an axis of numbers, every value where there are few, without those that would cover the one below."""
    texts = [f"{value:.4g}" if isinstance(value, float) else plain(str(value)) for value in values]
    known = dict(zip(heights, texts, strict=True))
    order = sorted(known)
    ends, apart = order[:1] + order[-1:], 1 / 12
    kept = [height for height in order[1:-1] if len(order) <= 6 and apart < height < 1 - apart]
    free = [height for below, height in zip([0.0, *kept], kept, strict=False) if height - below > apart]
    return [(height, known[height]) for height in dict.fromkeys([*ends, *free])]
