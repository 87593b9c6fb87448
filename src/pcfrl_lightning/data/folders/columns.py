"""What a table says about an image: which one it is, and the labels that its cells stand for."""

import re
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from pcfrl_lightning.data.folders.table import Table
from pcfrl_lightning.data.images.sources import IMAGE_SUFFIXES, ImageSource, is_image_name
from pcfrl_lightning.errors import DataError

Kind = Literal["any", "class", "several"]
_IMAGE_COLUMNS = ("image", "file", "filename", "path", "name")
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,14})")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_PADDED = re.compile(r"0\d+")


def to_label(table: Table, column: str, kind: Kind = "any", separator: str = "|") -> tuple[Tensor, list[str]]:
    """The label of a column and the names of its classes (none for numbers).

    Args:
        table: the table.
        column: its name.
        kind: `class`: every value is the name of a class, numbers too; `several`: several classes per cell; `any`: told
            by the values.
        separator: of several classes.

    Returns:
        (n,) long class codes or integers, (n,) float32 numbers, or (n, A) float32 0/1 for several classes.

    Raises:
        DataError: an empty cell, one value in all rows, or text among numbers; names file and line.
    """
    refuse_empty(table, column, " (or set missing to skip)")
    cells = table.column(column)
    if len(set(cells)) == 1:
        raise DataError(f"{table.path}: '{column}' is {cells[0]!r} in all rows, which is nothing to learn")
    if kind == "several":
        return _several(cells, separator)
    numbers = [_NUMBER.fullmatch(cell) is not None for cell in cells]
    if kind == "class" or 2 * sum(numbers) <= len(cells) or any(_PADDED.fullmatch(cell) for cell in cells):
        return classes(cells)
    if not all(numbers):
        row = numbers.index(False)
        problem = f"'{column}' is {cells[row]!r}, but most of its cells are numbers"
        raise DataError(f"{table.where(row)}: {problem}; mend it, or name it in class_columns")
    if all(_INTEGER.fullmatch(cell) for cell in cells):
        return torch.tensor([int(cell) for cell in cells], dtype=torch.long), []
    values = torch.tensor([float(cell) for cell in cells], dtype=torch.float32)
    if not values.isfinite().all():
        row = int((~values.isfinite()).nonzero()[0])
        raise DataError(f"{table.where(row)}: '{column}' is {cells[row]!r}, which is too large for a number")
    return values, []


def classes(cells: Sequence[str]) -> tuple[Tensor, list[str]]:
    """Class codes and names, sorted; numbers by their value."""
    numbers = all(_NUMBER.fullmatch(cell) for cell in cells)
    names = sorted(set(cells), key=lambda cell: (float(cell) if numbers else 0.0, cell))
    code = {name: number for number, name in enumerate(names)}
    return torch.tensor([code[cell] for cell in cells], dtype=torch.long), names


def _several(cells: Sequence[str], separator: str) -> tuple[Tensor, list[str]]:
    """Classes (n, A) float 0/1 and their names, sorted."""
    members = [{part.strip() for part in cell.split(separator)} - {""} for cell in cells]
    names = sorted(set().union(*members))
    return torch.tensor([[float(name in member) for name in names] for member in members]), names


def refuse_empty(table: Table, column: str, hint: str = "") -> None:
    """Raises DataError, with `hint` at its end, where a cell of a column is empty."""
    cells = table.column(column)
    if count := cells.count(""):
        raise DataError(f"{table.where(cells.index(''))}: '{column}' is empty ({count} in all); fill it in{hint}")


def image_column_of(table: Table) -> str:
    """The column that names the images: by its name, or the first whose cells are all file names of images.

    Raises:
        DataError: there is none.
    """
    by_case = {name.lower(): name for name in reversed(table.columns)}
    found = [by_case[name] for name in _IMAGE_COLUMNS if name in by_case]
    found += [name for name, cells in table.columns.items() if all(is_image_name(cell) for cell in cells)]
    if not found:
        raise DataError(
            f"{table.path}: no column names images (looked for {', '.join(_IMAGE_COLUMNS)}, or one of file names); "
            f"set image_column to one of {', '.join(table.columns)}"
        )
    return found[0]


def locate(table: Table, cells: Sequence[str], source: ImageSource) -> list[int | None]:
    """The image of each row, None where it is absent.

    Raises:
        DataError: an empty cell, a path out of the root, a name that several images share, an image of two rows.
    """
    by_stem: dict[str, list[int]] = {}
    names = [source.name(row) for row in range(len(source))]
    stems = [name.rpartition(".")[0].rstrip() for name in names]  # a name may end with a blank, which a cell loses
    for number, stem in enumerate(stems):
        by_stem.setdefault(stem.rpartition("/")[2], []).append(number)
    images: list[int | None] = []
    rows: dict[int, int] = {}
    for row, cell in enumerate(cells):
        if not cell or ".." in re.split(r"[\\/]", cell):
            raise DataError(f"{table.where(row)}: {cell!r} is not the name of an image")
        text = cell.replace("\\", "/").removeprefix("./").lstrip("/")
        full = text.lower().endswith(IMAGE_SUFFIXES)
        stem = (text.rpartition(".")[0].rstrip() if full else text).rpartition("/")[2]
        near = {number: (names if full else stems)[number] for number in by_stem.get(stem, [])}
        whole = [number for number, name in near.items() if name == text]
        found = whole or [number for number, name in near.items() if name.endswith(f"/{text}")]
        if len(found) > 1:
            both = f"{names[found[0]]} and {names[found[1]]}"
            raise DataError(f"{table.where(row)}: {cell!r} may be {both}; write more of the path, or name one archive")
        images.append(found[0] if found else None)
        if found and rows.setdefault(found[0], row) != row:
            raise DataError(f"{table.where(row)}: {cell!r} stands in {table.where(rows[found[0]])} already; keep one")
    return images
