"""Tables of labels, csv or parquet with one row per image: which image a row is, and what its cells stand for."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from pcfrl_lightning.data.images.rows import Once, Row, open_text, read_csv
from pcfrl_lightning.data.images.sources import IMAGE_SUFFIXES, ImageSource, is_image_name
from pcfrl_lightning.data.images.zips import MOST_GROWTH
from pcfrl_lightning.errors import DataError, require

Kind = Literal["any", "class", "several"]
_IMAGE_COLUMNS = ("image", "file", "filename", "path", "name")
_INTEGER = re.compile(r"[+-]?(0|[1-9]\d{0,17})")  # all of 18 digits fit into int64
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_PADDED = re.compile(r"0\d+")
_MOST_CELLS = 1 << 22
"""Of a small parquet file."""
_DECIMAL_COMMA = re.compile(r"^([+-]?\d+),(\d+)$")


class Table(NamedTuple):
    """Cells as text, without surrounding blanks, by the name of their column; an absent value is an empty cell."""

    path: Path
    columns: dict[str, list[str]]
    rows: list[Row]

    def column(self, name: str) -> list[str]:
        if name not in self.columns:
            raise DataError(f"{self.path}: has no column '{name}', only {', '.join(self.columns)}")
        return self.columns[name]

    def keep(self, rows: list[int]) -> "Table":
        columns = {name: [cells[row] for row in rows] for name, cells in self.columns.items()}
        return Table(self.path, columns, [self.rows[row] for row in rows])

    def label(self, column: str, kind: Kind = "any", separator: str = "|") -> tuple[Tensor, list[str]]:
        """The label of a column and the names of its classes (none for numbers).

        (n,) long class codes or integers, (n,) float32 numbers, or (n, A) float32 0/1 for several classes per cell.
        ``kind`` `class`: every value is the name of a class, numbers too; `any`: told by the values.  A DataError names
        file and line of an empty cell, one value in all rows, or text among numbers.
        """
        self.refuse_empty(column, " (or set missing to skip)")
        cells = self.column(column)
        if len(set(cells)) == 1:
            raise DataError(f"{self.path}: '{column}' is {cells[0]!r} in all rows, which is nothing to learn")
        if kind == "several":
            members = [{part.strip() for part in cell.split(separator)} - {""} for cell in cells]
            names = sorted(set().union(*members))
            require(bool(names), f"{self.path}: '{column}' names no class in any row", DataError)
            return torch.tensor([[float(name in member) for name in names] for member in members]), names
        numbers = [_NUMBER.fullmatch(cell) is not None for cell in cells]
        if kind == "class" or 2 * sum(numbers) <= len(cells) or any(_PADDED.fullmatch(cell) for cell in cells):
            return classes(cells)
        if not all(numbers):
            row = numbers.index(False)
            problem = f"'{column}' is {cells[row]!r}, but most of its cells are numbers"
            self.rows[row].fail(f"{problem}; mend it, or name it in class_columns")
        if all(_INTEGER.fullmatch(cell) for cell in cells):
            return torch.tensor([int(cell) for cell in cells], dtype=torch.long), []
        values = torch.tensor([float(cell) for cell in cells], dtype=torch.float32)
        if not values.isfinite().all():
            row = int((~values.isfinite()).nonzero()[0])
            self.rows[row].fail(f"'{column}' is {cells[row]!r}, which is too large for a number")
        return values, []

    def refuse_empty(self, column: str, hint: str = "") -> None:
        """Raises DataError, with `hint` at its end, where a cell of a column is empty."""
        cells = self.column(column)
        if count := cells.count(""):
            self.rows[cells.index("")].fail(f"'{column}' is empty ({count} in all); fill it in{hint}")

    def image_column(self) -> str:
        """The column that names the images: by its name, or the first whose cells are all file names of images."""
        by_case = {name.lower(): name for name in reversed(self.columns)}
        found = [by_case[name] for name in _IMAGE_COLUMNS if name in by_case]
        found += [name for name, cells in self.columns.items() if all(is_image_name(cell) for cell in cells)]
        if not found:
            looked = f"looked for {', '.join(_IMAGE_COLUMNS)}, or one of file names"
            fix = f"set image_column to one of {', '.join(self.columns)}"
            raise DataError(f"{self.path}: no column names images ({looked}); {fix}")
        return found[0]

    def locate(self, column: str, source: ImageSource) -> list[int | None]:
        """The image that a column names in each row, None where it is absent.

        A DataError tells of an empty cell, a path out of the root, a name of several images, an image of two rows.
        """
        by_stem: dict[str, list[int]] = {}
        names = [source.name(row) for row in range(len(source))]
        stems = [name.rpartition(".")[0].rstrip() for name in names]  # a name may end with a blank, which a cell loses
        for number, stem in enumerate(stems):
            by_stem.setdefault(stem.rpartition("/")[2], []).append(number)
        images: list[int | None] = []
        once = Once()
        for row, cell in zip(self.rows, self.column(column), strict=True):
            if not cell or ".." in re.split(r"[\\/]", cell):
                row.fail(f"{cell!r} is not the name of an image")
            text = cell.replace("\\", "/").removeprefix("./").lstrip("/")
            full = text.lower().endswith(IMAGE_SUFFIXES)
            stem = (text.rpartition(".")[0].rstrip() if full else text).rpartition("/")[2]
            near = {number: (names if full else stems)[number] for number in by_stem.get(stem, [])}
            whole = [number for number, name in near.items() if name == text]
            found = whole or [number for number, name in near.items() if name.endswith(f"/{text}")]
            if len(found) > 1:
                both = f"{names[found[0]]} and {names[found[1]]}"
                row.fail(f"{cell!r} may be {both}; write more of the path, or name one archive")
            images.append(found[0] if found else None)
            if found:
                once.add(row, names[found[0]])
        return images


def read_table(path: Path) -> Table:
    """Read a csv (`.gz` or not; separated by commas, semicolons or tabs; with a header) or a parquet file.

    Numbers of a semicolon-separated file may have a decimal comma.  Blank lines and columns without a name (the row
    numbers that pandas writes) are left out.  A DataError names file and line of what is wrong.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such table of labels; expected a csv, csv.gz or parquet file")
    header, *rows = (_parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)) or [Row(path, 1, [])]
    names = header.fields
    if named := [name for name in names if is_image_name(name)]:
        header.fail(f"'{named[0]}' is an image, but the first line must name the columns")
    if repeated := sorted(name for name in names if name and names.count(name) > 1):
        raise DataError(f"{path}: the column '{repeated[0]}' stands twice in its header; rename one of them")
    if not rows:
        raise DataError(f"{path}: no rows below the header; expected one row per image")
    for row in rows:
        if len(row) != len(header):
            row.fail(f"{len(row)} fields, but the header has {len(header)}")
    return Table(path, {name: [row.fields[i] for row in rows] for i, name in enumerate(names) if name}, rows)


def _csv(path: Path) -> list[Row]:
    with open_text(path) as lines:
        first = next((line for line in lines if line.strip()), "")
    separator = max(",;\t", key=first.count)
    rows = list(read_csv(path, separator))
    for row in rows if separator == ";" else ():
        row.fields = [_DECIMAL_COMMA.sub(r"\1.\2", cell) for cell in row.fields]
    return rows


def _parquet(path: Path) -> list[Row]:
    """The names of the columns as row 0, then the rows."""
    try:
        from pyarrow.parquet import ParquetFile

        file = ParquetFile(path)
        cells_there = file.metadata.num_rows * file.metadata.num_columns
        if cells_there > max(_MOST_CELLS, MOST_GROWTH * path.stat().st_size):  # equal cells take no room in the file
            raise ValueError(f"{cells_there} cells, more than a file of this size has")
        columns: dict[str, list[Any]] = file.read().to_pydict()
    except ImportError:
        raise DataError(f"{path}: reading parquet needs pyarrow (pip install pyarrow); or save it as csv") from None
    except Exception as error:  # pyarrow has many error types; all mean the same here
        raise DataError(f"{path}: not a readable parquet file ({error}); copy it again") from None
    # None and NaN are the cells that were left empty
    cells = [[name, *("" if c is None or c != c else c for c in column)] for name, column in columns.items()]
    return [Row(path, i, [str(c).strip() for c in row]) for i, row in enumerate(zip(*cells, strict=True))]


def classes(cells: Sequence[str]) -> tuple[Tensor, list[str]]:
    """Class codes and names, sorted; numbers by their value."""
    numbers = all(_NUMBER.fullmatch(cell) for cell in cells)
    names = sorted(set(cells), key=lambda cell: (float(cell) if numbers else 0.0, cell))
    code = {name: number for number, name in enumerate(names)}
    return torch.tensor([code[cell] for cell in cells], dtype=torch.long), names
