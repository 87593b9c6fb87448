"""What a probe gets right and wrong: confusion matrix, ROC, error of the pose by yaw."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from pcfrl_lightning.figures import style

_MANY = 12  # classes whose cells have room for a number


@style.look()
def confusion_matrix(counts: Sequence[Sequence[float]], names: Sequence[str], title: str) -> Figure:
    """Shares of the images of each true class, in percent of its row.

    Args:
        counts: rows are true classes, columns predicted ones.
        names: of the classes.
        title: names task and encoder.
    """
    matrix = np.array(counts, dtype=float)
    shares = 100 * matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    side = min(6.0, max(3.6, 0.46 * len(names) + 1.7))
    axes = style.plot("predicted class", "true class", style.plain(title), (side + 0.5, side), grid=False)
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
    axes = style.plot("false accept rate in %", "true accept rate in %", style.plain(title), (4.2, 4.2))
    axes.plot([0, 100], [0, 100], color=style.MUTED, linewidth=1, linestyle=(0, (1, 2)), label="chance")
    for number, (label, (false, true)) in enumerate(curves.items()):
        colour, line = style.COLOURS[number % len(style.COLOURS)], style.LINES[number % len(style.LINES)]
        axes.plot(100 * np.array(false), 100 * np.array(true), color=colour, linestyle=line, label=style.plain(label))
    axes.set(xlim=(0, 100), ylim=(0, 100))
    style.legend_below(style.figure_of(axes), axes, 2)
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
    axes = style.plot("true yaw in degrees", "mean absolute error in degrees", style.plain(title))
    middles = (np.array(edges[:-1]) + np.array(edges[1:])) / 2
    for number, (label, errors) in enumerate(lines.items()):
        known = np.array([np.nan if error is None else error for error in errors], dtype=float)
        colour, line = style.COLOURS[number % len(style.COLOURS)], style.LINES[number % len(style.LINES)]
        marker = style.MARKERS[number % len(style.MARKERS)]
        axes.plot(middles, known, color=colour, linestyle=line, marker=marker, label=style.plain(label))
    seen = [edge for edge in edges if abs(edge) <= 180]
    axes.set_xticks([edge for edge in seen if edge % 30 == 0])
    axes.set_ylim(bottom=0)
    style.legend_below(style.figure_of(axes), axes, 2)
    return style.figure_of(axes)
