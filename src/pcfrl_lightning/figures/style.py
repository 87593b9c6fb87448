"""The look of every plot: sizes, fonts, colours that can be told apart in grey, and how a figure is saved."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

POSE, FACE = "#2166ac", "#e08214"
"""Colours of the two branches: dark and light, so that they differ in grey, too."""

COLOURS = ("#2166ac", "#e08214", "#1b7837", "#c51b7d", "#4d4d4d", "#8073ac", "#35978f", "#b35806")
"""Colours of lines and groups, in this order; told apart by people with any common colour blindness."""

LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Shapes that go with `COLOURS`, for print in grey."""

INK, MUTED, GRID = "#1f2933", "#5b6875", "#e3e7eb"
HEAT = "cividis"
"""Colour map of matrices: its lightness rises evenly, so it survives printing in grey."""

PANEL = (4.6, 3.1)
"""Inches of one panel: a plot of this size is readable on a telephone."""

_LOOK: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.8,
    "lines.markersize": 5,
}
_SAVED: Any = {"svg.hashsalt": "pcfrl", "svg.fonttype": "path"}


def look() -> Any:
    """While it lasts, texts and ticks are made in the common look; also a decorator of a function that draws."""
    return matplotlib.rc_context(_LOOK)


def plot(x: str = "", y: str = "", title: str = "", size: tuple[float, float] = PANEL, grid: bool = True) -> Axes:
    """One empty plot in the common look; its figure is ``axes.figure``.

    Args:
        x: label of the horizontal axis, with the unit.
        y: label of the vertical axis, with the unit.
        title: says what is seen, in a few words.
        size: width and height in inches.
        grid: faint horizontal lines.
    """
    with look():
        (axes,) = plots(1, size)
        axes.set(xlabel=x, ylabel=y)
        axes.set_title(title)
        if grid:
            axes.grid(axis="y", color=GRID, linewidth=0.8)
    return axes


def plots(columns: int, size: tuple[float, float] = PANEL, rows: int = 1, **options: Any) -> list[Axes]:
    """Several empty plots of the common look in one figure, row by row.

    Args:
        columns: plots beside each other.
        size: of each plot in inches.
        rows: plots above each other.
        options: of `matplotlib.figure.Figure.subplots`, such as ``sharey``.
    """
    with look():
        figure = Figure((columns * size[0], rows * size[1]), layout="constrained")
        return list(figure.subplots(rows, columns, squeeze=False, **options).flatten())


def legend_below(figure: Figure, axes: Axes, columns: int = 4, scale: float = 1.0) -> None:
    """The legend of ``axes`` under the figure, where it hides nothing; none for unnamed lines; ``scale`` of markers."""
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        with look():
            figure.legend(
                handles, labels, loc="outside lower center", ncols=min(columns, len(labels)), markerscale=scale
            )


def without_axes(axes: Axes) -> None:
    """Take ticks and frame away, as for a picture."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def plain(text: str) -> str:
    """Text in which `$` begins no formula."""
    return text.replace("$", r"\$")


def figure_of(axes: Axes) -> Figure:
    """The figure that holds ``axes``."""
    figure = axes.figure
    assert isinstance(figure, Figure)  # sub-figures are not used
    return figure


@contextmanager
def any_letters() -> Iterator[None]:
    """While it lasts, names with letters that the font does not have are drawn with boxes, without a warning each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def save(figure: Figure, path: Path, dpi: int = 180) -> list[Path]:
    """Write ``<path>.png`` and ``<path>.svg``; the same figure gives the same bytes.

    Args:
        figure: with its labels; its background is white.
        path: with or without one of the two suffixes.
        dpi: pixels per inch of the PNG, and of pictures inside the SVG.

    Returns:
        the two files.
    """
    stem = path.with_suffix("") if path.suffix in (".png", ".svg") else path
    stem.parent.mkdir(parents=True, exist_ok=True)
    png, svg = (stem.with_name(stem.name + suffix) for suffix in (".png", ".svg"))
    with matplotlib.rc_context(_LOOK | _SAVED), any_letters():
        figure.savefig(png, dpi=dpi, metadata={"Software": None})
        layout = figure.get_layout_engine()
        figure.set_layout_engine("none")  # places stay as they are: laying out takes as long as drawing
        figure.savefig(svg, dpi=dpi, metadata={"Date": None})
        figure.set_layout_engine(layout)
    return [png, svg]
