"""A contact sheet of the nearest faces by each feature."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pcfrl_lightning.embedding.nearest import Nearest
from pcfrl_lightning.figures import style
from pcfrl_lightning.files import replacing

_TITLES = {"f_s": "$F_s$  backbone", "f_f": "$F_f$  face", "f_p": "$F_p$  pose"}
_CELL, _LABEL, _TEXT = 1.05, 1.25, 0.32  # inches
_LONGEST = 21  # characters of a name below a picture
_MARK = "nearest faces by pcfrl neighbours"  # in the metadata of every sheet


def neighbour_sheet(found: Sequence[Nearest], title: str) -> Figure:
    """One block per query: the query at the left, a row per feature, the nearest face first, distances below.

    Args:
        found: for each query.
        title: of the sheet.
    """
    features = list(found[0].neighbours)
    columns = max(len(row) for each in found for row in each.neighbours.values())
    rows, block = len(features), len(features) * (_CELL + _TEXT) + 0.25
    query_width = _CELL * (1.6 if rows > 1 else 1.0)
    figure = Figure((query_width + _LABEL + columns * _CELL + 0.3, len(found) * block + 0.65), dpi=160)
    width, height = figure.get_size_inches()

    def axis(x: float, y: float, side: float) -> Axes:
        """A square at inches from the upper left corner."""
        return figure.add_axes((x / width, 1 - (y + side) / height, side / width, side / height))

    figure.text(0.15 / width, 1 - 0.12 / height, style.plain(title), fontsize=9, va="top", weight="bold")
    note = "below each face: cosine distance (0: same direction) and file; left: median distance to all faces"
    figure.text(0.15 / width, 1 - 0.32 / height, note, fontsize=6.5, va="top", color="#444444")
    for number, each in enumerate(found):
        top = 0.55 + number * block
        _face(axis(0.15, top, query_width - 0.1), each.query.picture, _short(each.query.name, 34), "query")
        for row, name in enumerate(features):
            y = top + row * (_CELL + _TEXT)
            x = query_width + 0.2
            label = f"{_TITLES.get(name, name)}\nmedian {each.median[name]:#.2g}"
            figure.text(x / width, 1 - (y + _CELL / 2) / height, label, fontsize=8, va="center", linespacing=1.5)
            for column, one in enumerate(each.neighbours[name]):
                place = axis(x + _LABEL - 0.1 + column * _CELL, y, _CELL - 0.08)
                _face(place, one.picture, _short(one.name, _LONGEST), f"{one.distance:#.2g}")
    return figure


def save_neighbour_sheet(found: Sequence[Nearest], title: str, path: Path) -> None:
    """Write `neighbour_sheet` as PNG, SVG or PDF, by the name of the file."""
    sheet = neighbour_sheet(found, title)
    with style.any_letters(), replacing(path) as part:
        sheet.savefig(part, format=path.suffix[1:].lower(), metadata={"Title": _MARK})


def is_neighbour_sheet(path: Path) -> bool:
    """Whether a file was written by `save_neighbour_sheet`, so that another one may replace it."""
    return _MARK.encode() in path.read_bytes()


def _face(axis: Axes, picture: object, name: str, number: str) -> None:
    axis.imshow(picture, interpolation="lanczos")  # type: ignore[arg-type]
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set(color="#bbbbbb", linewidth=0.6)
    axis.text(0.5, -0.03, number, fontsize=7, ha="center", va="top", transform=axis.transAxes)
    axis.text(0.5, -0.155, name, fontsize=4.6, ha="center", va="top", transform=axis.transAxes, color="#444444")


def _short(name: str, length: int) -> str:
    """The file and, where there is room, its folder."""
    parts = str(PurePosixPath(name).with_suffix("")).split("/")[-2:]
    text = "/".join(parts) if sum(map(len, parts)) < length else parts[-1]
    return style.plain(text if len(text) <= length else f"...{text[3 - length :]}")
