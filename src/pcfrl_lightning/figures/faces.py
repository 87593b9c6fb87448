"""Sheets of faces: grids with headings, and calibrated pairs by two scores beside each other (Fig. 8)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from pcfrl_lightning.figures import style

RIGHT, WRONG = "#1b7837", "#b2182b"
_CELL = 0.95  # side of an image in inches


@style.look()
def face_grid(columns: Mapping[str, Tensor]) -> Figure:
    """Equally many images under each heading, a row per face.

    Args:
        columns: (R, 3, S, S) in [0, 1], clipped, by heading; ``$`` in a heading begins a formula.
    """
    rows = len(next(iter(columns.values())))
    figure, place = _sheet(len(columns), rows, _CELL, _CELL, top=0.32)
    for column, (title, images) in enumerate(columns.items()):
        for row, image in enumerate(images):
            axes = place(column, row)
            _show(axes, image)
            if row == 0:
                axes.set_title(title, fontsize=9, weight="normal", loc="center", pad=5)
    return figure


class Partner(NamedTuple):
    """A proposed partner: its picture (3, S, S), what to write below it, whether the labels agree (None: unknown)."""

    image: Tensor
    caption: str
    right: bool | None


@style.look()
def partner_sheet(anchors: Sequence[Tensor], partners: Mapping[str, Sequence[Partner]], cell: float = 1.05) -> Figure:
    """Fig. 8: a row per anchor: its picture, and the partner that each score proposes.

    A solid green frame is a right partner, a dashed red one a wrong one.

    Args:
        anchors: pictures (3, S, S) in [0, 1].
        partners: one for each anchor, by the heading of the column.
        cell: side of an image in inches.
    """
    figure, place = _sheet(1 + len(partners), len(anchors), cell + 0.3, cell, top=0.3, below=0.24)
    for row, image in enumerate(anchors):
        axes = place(0, row)
        _show(axes, image)
        if row == 0:
            axes.set_title("anchor", fontsize=9, weight="bold", loc="center", pad=5)
        for column, (heading, found) in enumerate(partners.items(), 1):
            axes, one = place(column, row), found[row]
            _show(axes, one.image)
            _frame(axes, one.right)
            axes.text(0.5, -0.05, one.caption, fontsize=8, ha="center", va="top", transform=axes.transAxes)
            if row == 0:
                axes.set_title(heading, fontsize=9, weight="bold", loc="center", pad=5)
    return figure


def _sheet(columns: int, rows: int, width: float, cell: float, top: float = 0.06, below: float = 0.0):  # type: ignore[no-untyped-def]
    """A figure, and a function of column and row that gives square axes there; sizes in inches."""
    gap = 0.06
    size = (columns * (width + gap) + gap, top + rows * (cell + below + gap) + gap)
    figure = Figure(size)

    def place(column: int, row: int) -> Axes:
        x = gap + column * (width + gap) + (width - cell) / 2
        y = size[1] - top - row * (cell + below + gap) - cell
        return figure.add_axes((x / size[0], y / size[1], cell / size[0], cell / size[1]))

    return figure, place


def _show(axes: Axes, image: Tensor) -> None:
    pixels = (image.detach().float().clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)
    axes.imshow(pixels, interpolation="lanczos")
    style.without_axes(axes)


def _frame(axes: Axes, right: bool | None) -> None:
    if right is None:
        return
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(RIGHT if right else WRONG)
        spine.set_linewidth(3)
        spine.set_linestyle("-" if right else (0, (3, 1.5)))
