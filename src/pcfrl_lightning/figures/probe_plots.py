"""What a probe gets right and wrong: confusion matrix, ROC, error of the pose by yaw."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from pcfrl_lightning.figures import style

_MANY = 12  # classes whose cells have room for a number


@style.look()
def confusion_matrix(counts: Sequence[Sequence[float]], names: Sequence[str], title: str) -> Figure:
    """Shares of the images of each true class (rows of ``counts``) by predicted class, in percent of the row."""
    matrix = np.array(counts, dtype=float)
    shares = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = min(6.0, max(3.6, 0.46 * len(names) + 1.7))
    axes = style.plot("predicted class", "true class", title, (side + 0.5, side), grid=False)
    # square cells would have to be laid out twice before labels fit
    mesh = axes.imshow(shares, cmap=style.HEAT, vmin=0, vmax=100, aspect="auto")
    if len(names) <= _MANY:
        shown = [style.plain(name) for name in names]
        axes.set_xticks(range(len(names)), shown, rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(names)), shown)
        for row, column in np.ndindex(*shares.shape):
            value = shares[row, column]
            colour = "black" if value > 55 else "white"
            axes.text(column, row, f"{value:.0f}", ha="center", va="center", fontsize=8, color=colour)
    style.figure_of(axes).colorbar(mesh, ax=axes, fraction=0.046, pad=0.03, label="% of the true class")
    return style.figure_of(axes)


@style.look()
def roc(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]], title: str = "ROC of face verification"
) -> Figure:
    """True against false accept rate, a line each; the dotted line is chance.

    Args:
        curves: false and true accept rates in [0, 1], by label.
        title: names the data.
    """
    axes = style.plot("false accept rate in %", "true accept rate in %", title, (4.2, 4.2))
    axes.plot([0, 100], [0, 100], color=style.MUTED, linewidth=1, linestyle=(0, (1, 2)), label="chance")
    shown = {label: (100 * np.array(false), 100 * np.array(true)) for label, (false, true) in curves.items()}
    style.draw_lines(axes, shown)
    axes.set(xlim=(0, 100), ylim=(0, 100))
    return style.figure_of(axes)


@style.look()
def error_by_yaw(
    lines: Mapping[str, Sequence[float | None]], edges: Sequence[float], title: str = "Head pose error by yaw"
) -> Figure:
    """Mean absolute error of yaw, pitch and roll in bands of the true yaw.

    Args:
        lines: an error in degrees per band by label; None or nan where no image is.
        edges: of the bands in degrees, one more than bands.
        title: names the data.
    """
    axes = style.plot("true yaw in degrees", "mean absolute error in degrees", title)
    middles = (np.array(edges[:-1]) + np.array(edges[1:])) / 2
    known = {label: (middles, np.array(errors, dtype=float)) for label, errors in lines.items()}  # None becomes nan
    style.draw_lines(axes, known, marked=len(edges))
    axes.set_xticks([edge for edge in edges if abs(edge) <= 180 and edge % 30 == 0])
    axes.set_ylim(bottom=0)
    return style.figure_of(axes)
