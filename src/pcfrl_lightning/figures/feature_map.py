"""Features in two dimensions, coloured by a label (Fig. 10)."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pcfrl_lightning.figures import style

OTHERS = "#c9cfd6"
_SIZE = 13.0  # square points of a marker


@style.look()
def class_maps(
    maps: Mapping[str, np.ndarray], labels: np.ndarray, names: Sequence[str], title: str, others: str = ""
) -> Figure:
    """Four (or fewer) maps of the same images, coloured by a class.

    Args:
        maps: (n, 2) positions by feature.
        labels: (n,) class numbers; those from ``len(names)`` on are grey.
        names: of the classes, at most eight.
        title: what the colours say.
        others: name of the grey ones in the legend.
    """
    figure, panels = _panels(maps, title)
    for axes, positions in zip(panels, maps.values(), strict=False):
        rest = labels >= len(names)
        if rest.any():
            x, y = positions[rest].T
            axes.scatter(x, y, s=_SIZE / 2, color=OTHERS, linewidth=0, label=others or None)
        for number, name in enumerate(names):
            marker, colour = style.MARKERS[number % 8], style.COLOURS[number % 8]
            x, y = positions[labels == number].T
            axes.scatter(x, y, s=_SIZE, color=colour, marker=marker, linewidth=0, alpha=0.85, label=style.named(name))
    style.legend_below(panels[0], 4, scale=1.8)
    return figure


@style.look()
def value_maps(maps: Mapping[str, np.ndarray], values: np.ndarray, title: str, unit: str) -> Figure:
    """Four (or fewer) maps of the same images, coloured by a number.

    Args:
        maps: (n, 2) positions by feature.
        values: (n,) such as the true yaw.
        title: what the colours say.
        unit: label of the bar of colours.
    """
    figure, panels = _panels(maps, title)
    largest = float(np.abs(values).max()) or 1.0
    for axes, positions in zip(panels, maps.values(), strict=False):
        x, y = positions.T
        points = axes.scatter(x, y, s=_SIZE, c=values, cmap=style.HEAT, vmin=-largest, vmax=largest, linewidth=0)
    figure.colorbar(points, ax=panels, location="bottom", shrink=0.6, aspect=30, pad=0.02, label=unit)
    return figure


def _panels(maps: Mapping[str, np.ndarray], title: str) -> tuple[Figure, list[Axes]]:
    columns = 2 if len(maps) > 1 else 1
    panels = style.plots(columns, (2.6, 2.4), rows=-(-len(maps) // columns))
    figure = style.figure_of(panels[0])
    figure.suptitle(title, fontsize=11, weight="bold", x=0.02, ha="left")
    for axes in panels[len(maps) :]:
        axes.set_visible(False)
    for axes, name in zip(panels, maps, strict=False):
        axes.set_title(name, fontsize=10, weight="normal")
        axes.set(xticks=[], yticks=[])
        axes.spines[["top", "right"]].set_visible(True)
    return figure, panels
