"""The look of every plot: sizes, fonts, colours that can be told apart in grey, and how a figure is saved."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
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


@look()
def plot(x: str = "", y: str = "", title: str = "", size: tuple[float, float] = PANEL, grid: bool = True) -> Axes:
    """One empty plot of a size in inches, in the common look, with faint horizontal lines; labels come with units.

    `$` begins no formula in its texts.
    """
    (axes,) = plots(1, size)
    axes.set(xlabel=plain(x), ylabel=plain(y))
    axes.set_title(plain(title))
    if grid:
        axes.grid(axis="y", color=GRID, linewidth=0.8)
    return axes


@look()
def plots(columns: int, size: tuple[float, float] = PANEL, rows: int = 1, **options: Any) -> list[Axes]:
    """Several empty plots, each of a size in inches, in one figure of the common look, row by row.

    ``options`` are those of `matplotlib.figure.Figure.subplots`, such as ``sharey``.
    """
    figure = Figure((columns * size[0], rows * size[1]), layout="constrained")
    return list(figure.subplots(rows, columns, squeeze=False, **options).flatten())


def draw_lines(axes: Axes, lines: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]], marked: int = 0) -> None:
    """A line for each label, x and y, with marks where it has up to ``marked`` points, and a legend of the labels."""
    for number, (label, (across, up)) in enumerate(lines.items()):
        colour, dashes = COLOURS[number % len(COLOURS)], LINES[number % len(LINES)]
        marker = MARKERS[number % len(MARKERS)] if len(np.asarray(across)) <= marked else None
        axes.plot(across, up, color=colour, linestyle=dashes, marker=marker, label=named(label))
    legend_below(axes)


def named(label: str) -> str:
    """A label for the legend: Matplotlib leaves out those that begin with ``_``."""
    return f" {label}" if label.startswith("_") else label


def legend_below(axes: Axes, columns: int = 2, scale: float = 1.0) -> None:
    """The legend of ``axes`` under its figure, where it hides nothing; none for unnamed lines; ``scale`` of markers.

    `$` begins no formula in a label.
    """
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        shown, columns = [plain(label) for label in labels], min(columns, len(labels))
        figure_of(axes).legend(handles, shown, loc="outside lower center", ncols=columns, markerscale=scale)


def plain(text: str) -> str:
    """Text in which `$` begins no formula; what cannot be printed is escaped."""
    return text.encode("utf-8", "backslashreplace").decode().replace("$", r"\$")


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
    """Write ``<path>.png`` and ``<path>.svg`` and return both; the same figure gives the same bytes.

    ``path`` may have one of the two suffixes; ``dpi`` is also that of pictures inside the SVG.
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
