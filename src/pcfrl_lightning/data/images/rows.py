"""Text lists of the official releases: read line by line; every error names file and line."""

import csv
import gzip
import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TextIO

from pcfrl_lightning.data.images.sources import inside
from pcfrl_lightning.data.images.zips import LARGEST, MOST_GROWTH, check_growth
from pcfrl_lightning.errors import DataError, require

TextPath = Path | zipfile.Path
"""A text file on disk or in an archive."""


class Row:
    """One line of a list file: its number, counted from 1, and its fields, without surrounding blanks.

    Whatever a method refuses is a DataError that begins with `file:line:`.
    """

    def __init__(self, path: TextPath, number: int, fields: list[str]) -> None:
        self.path, self.number, self.fields = path, number, fields

    def __len__(self) -> int:
        return len(self.fields)

    def __str__(self) -> str:
        return f"{self.path}:{self.number}"

    def fail(self, problem: str) -> NoReturn:
        raise DataError(f"{self}: {problem}")

    def text(self, column: int) -> str:
        """Field `column`, which must be there and not empty."""
        if column >= len(self.fields) or not self.fields[column]:
            self.fail(f"field {column + 1} is missing in {' '.join(self.fields)!r}")
        return self.fields[column]

    def integer(self, column: int, low: int, high: int) -> int:
        """Field `column` as an integer in [low, high]; a float spelling of one (`1.0`) is accepted."""
        value = self.number_at(column)
        if value != int(value) or not low <= value <= high:
            self.fail(f"{self.fields[column]!r} is not an integer from {low} to {high}")
        return int(value)

    def number_at(self, column: int) -> float:
        """Field `column` as a finite float."""
        text = self.text(column)
        try:
            value = float("_" if "_" in text else text)  # Python reads 0_3 as 3
        except ValueError:
            self.fail(f"{text!r} is not a number")
        if not math.isfinite(value):
            self.fail(f"{text!r} is not a finite number")
        return value

    def relative(self, column: int) -> str:
        """Field `column` as a path with forward slashes that stays inside its root."""
        return self.inside(self.text(column))

    def inside(self, relative: str) -> str:
        """A path made of fields of this line, checked like `relative`."""
        return inside(relative, str(self))

    def expect(self, *lengths: int) -> None:
        """The line must have one of these numbers of fields."""
        if len(self.fields) not in lengths:
            wanted = " or ".join(str(n) for n in lengths)
            self.fail(f"expected {wanted} fields, found {len(self.fields)}: {' '.join(self.fields)[:120]!r}")


@contextmanager
def open_text(path: TextPath) -> Iterator[TextIO]:
    """A text file, `.gz` or not, with line ends untranslated as `csv.reader` wants them.

    A DataError names the file where what is read is not UTF-8 text, or damaged in its archive.
    """
    packed = isinstance(path, Path) and path.name.lower().endswith(".gz")
    opened: Any = gzip.open if packed else type(path).open
    try:
        if isinstance(path, zipfile.Path):
            check_growth(path.root.getinfo(path.at), str(path.root.filename))
        elif packed:
            _check_gzip(path)
        with opened(path, "rt" if opened is gzip.open else "r", encoding="utf-8-sig", newline="") as lines:
            yield lines
    except UnicodeDecodeError as error:
        problem = f"not a UTF-8 text file ({error.reason} at byte {error.start}); save it as UTF-8"
        raise DataError(f"{path}: {problem}") from None
    except (zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: not readable ({error}); copy or download it again") from None


def _check_gzip(path: Path) -> None:
    """As `check_growth`; how much a file unpacks to is not known before it is unpacked."""
    size = path.stat().st_size
    most, found = max(LARGEST, MOST_GROWTH * size), 0
    with gzip.open(path) as file:
        while block := file.read(1 << 20):
            found += len(block)
            if found > most:
                raise DataError(f"{path}: unpacks from {size} to more than {most} bytes, which no table does")


def read_rows(path: TextPath, separator: str | None = None, columns: int | None = None) -> Iterator[Row]:
    """Rows of a text file without its blank lines; raises like `open_text`, and for a file that is absent or empty.

    ``separator`` None: any run of blanks.  ``columns``: how many fields there are at most, counted from the right: the
    first takes what is left, such as a path with blanks.
    """
    require(path.is_file(), f"{path}: no such list file", FileNotFoundError)
    empty = True
    with open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                empty = False
                fields = line.strip().rsplit(separator, -1 if columns is None else columns - 1)
                yield Row(path, number, [field.strip() for field in fields])
    require(not empty, f"{path}: empty; copy it again from the release", DataError)


def read_csv(path: Path, delimiter: str = ",") -> Iterator[Row]:
    """Rows of a CSV file, quotes resolved, without its blank lines; raises like `open_text`."""
    with open_text(path) as lines:
        reader = csv.reader(lines, delimiter=delimiter)
        try:
            for fields in reader:
                if any(cells := [field.strip() for field in fields]):
                    yield Row(path, reader.line_num, cells)
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: not a CSV file ({error})") from None


class Once:
    """Names that may occur only once in several lists and, with `within`, in each of them."""

    def __init__(self, within: bool = True) -> None:
        self._within = within
        self._first: dict[str, Row] = {}

    def add(self, row: Row, name: str) -> str:
        """Note a name and return it; raises DataError, which names both lines, where it was added before."""
        first = self._first.setdefault(name, row)
        if first is not row and (self._within or first.path != row.path):
            row.fail(f"{name} stands in {first} already; keep one of the two lines")
        return name
