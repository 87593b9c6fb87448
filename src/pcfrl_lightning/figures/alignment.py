"""Pair alignment of a batch: the matrix (Fig. 5), its distribution (Fig. 7a) and its row maxima (Fig. 7b, 9)."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pcfrl_lightning.figures import style

BRANCHES = {"pose": style.POSE, "face": style.FACE}
_LINES = {"pose": "-", "face": "--"}
_BINS = 48


@style.look()
def alignment_map(matrix: Tensor, threshold: float, title: str) -> Figure:
    """Fig. 5: PA of all pairs of some views as a heat map, with T marked on the bar of colours.

    Args:
        matrix: (M, M), views of the first kind before those of the second; the diagonal is not shown.
        threshold: T; infinite where there is none, and not on the bar where nearly all scores are above it.
        title: names the branch.
    """
    shown = matrix.detach().clone().fill_diagonal_(float("nan"))
    low, high = float(shown.nanquantile(0.01)), float(shown.nanquantile(0.999))
    known = np.isfinite(threshold)
    if known:
        high = max(high, threshold)
    axes = style.plot("view", "view", title, (4.6, 3.9), grid=False)
    figure = style.figure_of(axes)
    mesh = axes.imshow(shown.numpy(), cmap=style.HEAT, vmin=low, vmax=high, interpolation="nearest")
    bar = figure.colorbar(mesh, ax=axes, fraction=0.05, pad=0.03, label="PA")
    if known and threshold >= low:
        bar.ax.plot([-0.35, 1.35], [threshold] * 2, color="white", linewidth=4, clip_on=False, zorder=4)
        bar.ax.plot([-0.35, 1.35], [threshold] * 2, color=style.INK, linewidth=2, clip_on=False, zorder=5)
    if known:  # a mark far below the bar would leave no room for the map
        text = f"T = {threshold:.2f}" if threshold >= low else f"T = {threshold:.2f}\n(below)"
        bar.ax.set_title(text, fontsize=9, loc="center", weight="normal")
    return figure


@style.look()
def row_maxima(maxima: Mapping[str, Tensor], thresholds: Mapping[str, float]) -> Figure:
    """Fig. 7b and 9: the best PA of each anchor (m,), ``pose`` against ``face``, and T; infinite: there is none."""
    axes = _histograms(maxima, "best PA of an anchor", "anchors", "Best PA of each anchor")
    known = {name: value for name, value in thresholds.items() if np.isfinite(value)}
    if len(set(known.values())) == 1:
        axes.axvline(*set(known.values()), color=style.INK, linewidth=1.6, linestyle=":", label="T")
        axes.set_title(f"{axes.get_title(loc='left')}, T = {next(iter(known.values())):.2f}")
    else:
        for name, value in known.items():
            line = {"pose": ":", "face": "-."}[name]
            axes.axvline(value, color=BRANCHES[name], linewidth=1.6, linestyle=line, label=f"T {name} {value:.2f}")
    style.legend_below(axes)
    return style.figure_of(axes)


@style.look()
def pair_scores(scores: Mapping[str, Tensor]) -> Figure:
    """Fig. 7a: PA (p,) of all pairs of views of different images, pose against face; counts on a log axis."""
    axes = _histograms(scores, "PA of a pair", "pairs (log scale)", "PA of all pairs of images")
    axes.set_yscale("log")
    style.legend_below(axes)
    return style.figure_of(axes)


def _histograms(values: Mapping[str, Tensor], x: str, y: str, title: str) -> Axes:
    axes = style.plot(x, y, title)
    shown = {name: each.detach().float().numpy() for name, each in values.items()}
    every = np.concatenate(list(shown.values()))
    edges = np.linspace(every.min(), every.max() + 1e-6, _BINS).tolist()
    for name, numbers in shown.items():
        colour, line = BRANCHES[name], _LINES[name]
        axes.hist(numbers, edges, color=colour, alpha=0.25)
        axes.hist(numbers, edges, color=colour, histtype="step", linewidth=1.8, linestyle=line, label=name)
    return axes
