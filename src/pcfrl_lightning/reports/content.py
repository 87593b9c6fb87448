"""What a report says, without any format: pages of sections with text, tables, facts and figures."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Cell:
    """A cell of a table; the best figure of a comparison is set in bold."""

    text: str
    best: bool = False

    @property
    def number(self) -> bool:
        """Whether it is a figure, which stands at the right of its column."""
        return re.match(r"[-+\u2212]?\d", self.text) is not None or self.text in ("", "-", "none")


@dataclass(frozen=True)
class Table:
    """Rows under headings, with lines of notes below; texts and cells may be mixed, the first of a row names it."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    caption: str = ""
    notes: Sequence[str] = ()

    @property
    def texts(self) -> list[bool]:
        """Which columns hold text in any row."""
        columns = zip(*self.cells, strict=True) if self.rows else [[] for _ in self.headings]
        return [any(not cell.number for cell in column) for column in columns]

    @property
    def cells(self) -> list[list[Cell]]:
        """All rows as cells."""
        return [[cell if isinstance(cell, Cell) else Cell(cell) for cell in row] for row in self.rows]


@dataclass(frozen=True)
class Picture:
    """A figure; ``alt`` describes it to someone who cannot see it."""

    name: str  # of its files; they have its letters and digits
    figure: Figure
    caption: str
    alt: str
    dpi: int = 180  # of the PNG; photographs need fewer than lines and text


@dataclass(frozen=True)
class Section:
    """A heading with what stands below it, in the order of the fields."""

    title: str
    text: Sequence[str] = ()
    points: Sequence[str] = ()
    """Short statements, as a list."""
    tables: Sequence[Table] = ()
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Long values by key, under a heading each: commands, hardware."""
    pictures: Sequence[Picture] = ()
    missing: Sequence[str] = ()
    """What could be here, and the command that makes it."""

    @property
    def anchor(self) -> str:
        """Name of the section in a link."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


@dataclass(frozen=True)
class Page:
    """A report; sections without content are left out."""

    title: str
    lead: str
    sections: Sequence[Section]

    @property
    def shown(self) -> list[Section]:
        """Sections with content."""
        return [each for each in self.sections if any(value for key, value in vars(each).items() if key != "title")]
