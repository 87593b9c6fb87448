"""Sheets of faces: grids with headings, and calibrated pairs by two scores beside each other (Fig. 8)."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pcfrl_lightning.figures import style

RIGHT, WRONG = "#1b7837", "#b2182b"


@style.look()
def face_grid(columns: Mapping[str, Tensor]) -> Figure:
    """Equally many images under each heading, a row per face.

    Args:
        columns: (R, 3, S, S) in [0, 1], clipped, by heading; ``$`` in a heading begins a formula.
    """
    rows = len(next(iter(columns.values())))
    figure, show = _sheet(len(columns), rows, 0.95, 0.95, "normal", top=0.32)
    for column, (title, images) in enumerate(columns.items()):
        for row, image in enumerate(images):
            show(column, row, image, title)
    return figure


class Partner(NamedTuple):
    """A proposed partner: its picture (3, S, S), what to write below it, whether the labels agree (None: unknown)."""

    image: Tensor
    caption: str
    right: bool | None


@style.look()
def partner_sheet(anchors: Sequence[Tensor], partners: Mapping[str, Sequence[Partner]]) -> Figure:
    """Fig. 8: a row per anchor: its picture (3, S, S) in [0, 1], and the partner that each score (heading) proposes.

    A solid green frame is a right partner, a dashed red one a wrong one.
    """
    figure, show = _sheet(1 + len(partners), len(anchors), 1.35, 1.05, "bold", top=0.3, below=0.24)
    for row, image in enumerate(anchors):
        show(0, row, image, "anchor")
        for column, (heading, found) in enumerate(partners.items(), 1):
            one = found[row]
            axes = show(column, row, one.image, heading)
            axes.text(0.5, -0.05, one.caption, fontsize=8, ha="center", va="top", transform=axes.transAxes)
            if one.right is not None:
                colour, dashes = (RIGHT, "-") if one.right else (WRONG, (0, (3, 1.5)))
                axes.spines[:].set(visible=True, color=colour, linewidth=3, linestyle=dashes)
    return figure


def _sheet(
    columns: int, rows: int, width: float, cell: float, weight: str, top: float, below: float = 0.0
) -> tuple[Figure, Callable[[int, int, Tensor, str], Axes]]:
    """A figure, and a function that shows an image in a column and row, under a heading in row 0; sizes in inches.

    ``width`` is that of a column, ``cell`` the side of an image.
    """
    gap = 0.06
    size = (columns * (width + gap) + gap, top + rows * (cell + below + gap) + gap)
    figure = Figure(size)

    def show(column: int, row: int, image: Tensor, heading: str) -> Axes:
        x = gap + column * (width + gap) + (width - cell) / 2
        y = size[1] - top - row * (cell + below + gap) - cell
        axes = figure.add_axes((x / size[0], y / size[1], cell / size[0], cell / size[1]))
        pixels = (image.detach().float().clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)
        axes.imshow(pixels, interpolation="lanczos")
        axes.set(xticks=[], yticks=[])
        axes.spines[:].set_visible(False)
        if row == 0:
            axes.set_title(heading, fontsize=9, weight=weight, loc="center", pad=5)
        return axes

    return figure, show
