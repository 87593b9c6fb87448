"""Tables of labels: csv and parquet files with one row per image."""

import csv
import gzip
import io
import re
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from pcfrl_lightning.data.images.sources import is_image_name
from pcfrl_lightning.errors import DataError

_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")


class Table(NamedTuple):
    """Cells as text, without surrounding blanks; an absent value is an empty cell.

    Attributes:
        path: the file.
        columns: cells by the name of their column, all of one length.
        lines: line of each row in the file, from 1 (parquet: number of the row).
    """

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]

    def where(self, row: int) -> str:
        """File and line of a row, for messages."""
        return f"{self.path}:{self.lines[row]}"

    def column(self, name: str) -> list[str]:
        """The cells of a column; raises DataError where there is none of this name."""
        if name not in self.columns:
            raise DataError(f"{self.path}: has no column '{name}', only {', '.join(self.columns)}")
        return self.columns[name]

    def keep(self, rows: list[int]) -> "Table":
        """The table reduced to some rows."""
        columns = {name: [cells[row] for row in rows] for name, cells in self.columns.items()}
        return Table(self.path, columns, [self.lines[row] for row in rows])


def read_table(path: Path) -> Table:
    """Read a csv (`.gz` or not; separated by commas, semicolons or tabs; with a header) or a parquet file.

    Numbers of a semicolon-separated file may have a decimal comma.  Blank lines and columns without a name (the row
    numbers that pandas writes) are left out.

    Raises:
        FileNotFoundError: no such file.
        DataError: not UTF-8 text, damaged, no header, no rows, a repeated column name, or a row with another number of
            fields than the header; names file and line.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such table of labels; expected a csv, csv.gz or parquet file")
    header, rows, lines = _parquet(path) if path.suffix.lower() == ".parquet" else _csv(path)
    if repeated := sorted({name for name in header if name and header.count(name) > 1}):
        raise DataError(f"{path}: the column '{repeated[0]}' stands twice in its header; rename one of them")
    if not rows:
        raise DataError(f"{path}: no rows below the header; expected one row per image")
    return Table(path, {name: [row[i] for row in rows] for i, name in enumerate(header) if name}, lines)


def _csv(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix.lower() == ".gz" else data).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: not a UTF-8 text file ({error.reason} at byte {error.start}); save it as UTF-8"
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not readable ({error}); copy it again") from None
    first = next((line for line in text.splitlines() if line.strip()), "")
    separator = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header: list[str] = []
    rows, lines = [], []
    try:
        for fields in reader:
            cells = [field.strip() for field in fields]
            if not any(cells):
                continue
            if not header:
                header = cells
                if named := [cell for cell in header if is_image_name(cell)]:
                    raise DataError(
                        f"{path}:{reader.line_num}: '{named[0]}' is an image, but the first line must name the columns"
                    )
                continue
            if len(cells) != len(header):
                raise DataError(f"{path}:{reader.line_num}: {len(cells)} fields, but the header has {len(header)}")
            if separator == ";":
                cells = [cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell for cell in cells]
            rows.append(cells)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: not a CSV file ({error})") from None
    return header, rows, lines


def _parquet(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    try:
        from pyarrow.parquet import read_table as read

        columns: dict[str, list[Any]] = read(path).to_pydict()
    except ImportError:
        raise DataError(f"{path}: reading parquet needs pyarrow (pip install pyarrow); or save it as csv") from None
    except Exception as error:  # pyarrow has many error types; all mean the same here
        raise DataError(f"{path}: not a readable parquet file ({error}); copy it again") from None
    # None and NaN are the cells that were left empty
    text = [["" if c is None or c != c else str(c).strip() for c in cells] for cells in columns.values()]
    rows = [list(row) for row in zip(*text, strict=True)]
    return [str(name).strip() for name in columns], rows, list(range(1, len(rows) + 1))
