"""Face images of your own with labels: class folders, or a table beside the images."""

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.folders.table import Kind, Table, classes, read_table
from pcfrl_lightning.data.images.listing import Roots, as_paths, open_images, walk
from pcfrl_lightning.data.images.rows import Row
from pcfrl_lightning.data.images.sources import ImageSource, SubsetSource, is_image_name
from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.split import SPLITS, hold_out
from pcfrl_lightning.errors import DataError, require

log = logging.getLogger(__name__)

_TEST_FRACTION = 0.2


class LabelledFolder(FaceData):
    """Images with labels: `<class>/...` or `<split>/<class>/...` folders (label `class`), or a table of labels.

    The table is a csv (`.gz` or not; commas, semicolons or tabs; UTF-8) or a parquet file (needs pyarrow) with a header
    and a row per image.  One column names the images, by their path or only its end, with or without suffix.  Each
    other column is a label of its name: integers give (n,) long, other numbers (n,) float32, text (n,) long with the
    sorted values as class names (numbers with leading zeros, such as `007`, count as text).  A column that cannot be a
    label (empty cells, one value only, text among numbers) is left out, and a probe that asks for it says why with
    file and line; a column named in `label_columns` is refused at once.  Rows whose images are absent are left out
    with a warning, up to half of them.

    Without split folders or `split_column` the test and validation images are drawn by `seed`, whole groups where there
    is a `group_column`, which is also the label `group`.

    Args:
        root: folder, zip archive, several zip archives, or a folder or pattern (`faces_*.zip`) of zip archives.
        labels: the table, relative to the working directory, to `root` or to its folder; default: class folders.
        image_column: default: the first of image, file, filename, path, name, else the first that names images.
        split_column: holds train, val, valid, validation or test.
        group_column: groups that no split may share, such as the person.
        label_columns: columns to read as labels; default: all that can be.
        class_columns: columns whose numbers are names of classes.
        several_columns: columns of several classes per cell, such as `a|b`: (n, A) float 0/1.  A separator alone means
            none of them.
        separator: of those classes.
        missing: what to do with a row of an empty cell in a label column, `refuse` the column or `skip` the row.
            Columns that are empty in more than half of the rows do not count unless named in `label_columns`.
        test_fraction: share of the images for split `test` where none is given, in [0, 1); default 0.2.
        val_fraction: the same for split `val`; default 0: probes hold out a part of `train` by themselves.
        kwargs: see `FaceData`.

    Raises:
        ValueError: options that exclude one another, or a fraction out of range.
    """

    name = "labelled"

    def __init__(
        self,
        root: Roots,
        labels: str | Path | None = None,
        image_column: str | None = None,
        split_column: str | None = None,
        group_column: str | None = None,
        label_columns: Sequence[str] | None = None,
        class_columns: Sequence[str] = (),
        several_columns: Sequence[str] = (),
        separator: str = "|",
        missing: Literal["refuse", "skip"] = "refuse",
        test_fraction: float | None = None,
        val_fraction: float | None = None,
        **kwargs: Any,
    ) -> None:
        self.roots = as_paths(root)
        super().__init__(self.roots[0], **kwargs)
        columns = {"image_column": image_column, "split_column": split_column, "group_column": group_column}
        if given := [key for key, value in columns.items() if value and labels is None]:
            raise ValueError(f"{given[0]} names a column of a table: give the table as labels")
        require(missing in ("refuse", "skip"), f"missing must be refuse or skip, got {missing!r}")
        require(separator != "", "separator must not be empty")
        fractions = [fraction or 0.0 for fraction in (test_fraction, val_fraction)]
        if min(fractions) < 0 or sum(fractions) >= 1:
            raise ValueError(f"test_fraction and val_fraction must be 0 or more and below 1 together, got {fractions}")
        if split_column and any(fractions):
            raise ValueError("test_fraction and val_fraction draw the splits that split_column gives: drop one of them")
        self.labels = None if labels is None else Path(labels)
        self.image_column, self.split_column, self.group_column = image_column, split_column, group_column
        self.label_columns, self.class_columns = label_columns, class_columns
        self.several_columns, self.separator, self.missing = several_columns, separator, missing
        self.test_fraction, self.val_fraction = test_fraction, val_fraction

    def build(self) -> dict[str, FaceSet]:
        source = _open(self.roots)
        if self.labels is None:
            table, images = self._from_folders(source), list(range(len(source)))
            split_column = "split" if "split" in table.columns else None
        else:
            table, images = self._from_table(source, self.labels)
            split_column = self.split_column
        for column in filter(None, (split_column, self.group_column)):
            table.refuse_empty(column)
        labels, class_names, unusable = self._labels(table, split_column)
        groups = torch.arange(len(images))
        if self.group_column:
            groups = labels["group"] = classes(table.column(self.group_column))[0]
            class_names.pop("group", None)  # of another column
        splits = self._drawn(groups) if split_column is None else _given(table, split_column, self.group_column)
        return {
            split: FaceSet(
                SubsetSource(source, [images[row] for row in rows]),
                {key: value[rows] for key, value in labels.items()},
                name=f"{self.name}/{split}",
                class_names=class_names,
                unusable=unusable,
            )
            for split, rows in splits.items()
        }

    def _from_folders(self, source: ImageSource) -> Table:
        """The columns `class` and, where all of the top folders are splits, `split`."""
        names = [source.name(row) for row in range(len(source))]
        parts = [PurePosixPath(name).parts[:-1] for name in names]
        while all(parts) and len({part[0] for part in parts}) == 1 and parts[0][0].lower() not in SPLITS:
            parts = [part[1:] for part in parts]
        tops = {part[0] for part in parts if part}
        found = sorted(top for top in tops if top.lower() in SPLITS)
        if found and len(found) < len(tops):
            other = min(tops.difference(found))
            raise DataError(f"{self.root}: '{other}' beside '{found[0]}' is no split; splits are {', '.join(SPLITS)}")
        columns = ("split", "class") if found else ("class",)
        for name, part in zip(names, parts, strict=True):
            if len(part) < len(columns):
                raise DataError(f"{self.root}: {name} is in no class folder; expected <class>/ or <split>/<class>/")
        if found and (self.test_fraction or self.val_fraction):
            raise ValueError("test_fraction and val_fraction draw splits, but there are split folders: drop them")
        cells = {column: [part[depth] for part in parts] for depth, column in enumerate(columns)}
        return Table(self.root, cells, [Row(self.root, row, []) for row in range(len(names))])

    def _from_table(self, source: ImageSource, path: Path) -> tuple[Table, list[int]]:
        """The rows of the table that are used, without the column of images, and the image of each."""
        places = (path, self.root / path, self.root.parent / path)
        table = read_table(next((place for place in places if place.is_file()), path))
        named = self.image_column or table.image_column()
        given = [self.split_column, self.group_column]
        chosen = (*(self.label_columns or ()), *self.class_columns, *self.several_columns)
        for column in filter(None, (*given, *chosen)):
            table.column(column)
        images = table.locate(named, source)
        kept = [row for row, image in enumerate(images) if image is not None]
        if len(kept) < len(images):
            row = images.index(None)
            problem = (
                f"{table.rows[row]}: image {table.column(named)[row]!r} is not in {', '.join(map(str, self.roots))} "
                f"({len(images) - len(kept)} of {len(images)} rows name absent images"
            )
            if 2 * len(kept) < len(images):
                raise DataError(f"{problem}; the images there are named like {source.name(0)!r})")
            log.warning("%s; they are left out)", problem)
        used = table.keep(kept)
        del used.columns[named]
        if self.missing == "skip":
            dense = [name for name, cells in used.columns.items() if 2 * cells.count("") <= len(kept)]
            required = [used.column(name) for name in filter(None, (*(self.label_columns or dense), *given))]
            full = [row for row in range(len(kept)) if all(cells[row] for cells in required)]
            require(bool(full), f"{table.path}: no row is without an empty cell; name the label_columns", DataError)
            if len(full) < len(kept):
                log.warning("%s: %d rows with an empty cell are left out", table.path, len(kept) - len(full))
            used, kept = used.keep(full), [kept[row] for row in full]
        return used, [image for row in kept if (image := images[row]) is not None]

    def _labels(
        self, table: Table, split_column: str | None
    ) -> tuple[dict[str, Tensor], dict[str, list[str]], dict[str, str]]:
        """Labels, names of their classes, and why the other columns are none."""
        labels: dict[str, Tensor] = {}
        names: dict[str, list[str]] = {}
        unusable: dict[str, str] = {}
        for column in self.label_columns or [name for name in table.columns if name != split_column]:
            try:
                labels[column], names[column] = table.label(column, self._kind(column), self.separator)
            except DataError as error:
                if self.label_columns or self.labels is None:
                    raise
                unusable[column] = str(error)
        if not labels:
            raise DataError(next(iter(unusable.values()), f"{table.path}: no column but those of images and splits"))
        if unusable:
            log.info("%s: no labels: %s", table.path, ", ".join(unusable))
        return labels, {column: values for column, values in names.items() if values}, unusable

    def _kind(self, column: str) -> Kind:
        if column in self.several_columns:
            return "several"
        return "class" if column in self.class_columns or self.labels is None else "any"

    def _drawn(self, groups: Tensor) -> dict[str, Tensor]:
        """Rows of splits drawn by the seed, whole groups each; one of a fraction 0 is left out."""
        test = _TEST_FRACTION if self.test_fraction is None else self.test_fraction
        rest, left, splits = torch.arange(len(groups)), 1.0, {}
        for number, (split, fraction) in enumerate((("test", test), ("val", self.val_fraction))):
            if fraction:
                held = hold_out(groups[rest], fraction / left, self.seed + number)
                if not held.any():
                    what = f"{self.group_column} is one group" if self.group_column else "there is one image"
                    raise DataError(f"{self.root}: {what}, of which no {split} is drawn: set {split}_fraction to 0")
                splits[split], rest, left = rest[held], rest[~held], left - fraction
        return {"train": rest, **splits}


def _open(roots: Sequence[Path]) -> ImageSource:
    """The images of a folder, of archives, of the archives of a folder, or of those that a pattern matches."""
    root = roots[0]
    if len(roots) == 1 and not root.exists() and "*" in root.name:
        roots = sorted(root.parent.glob(root.name)) or roots
    elif len(roots) == 1 and root.is_dir() and not any(map(is_image_name, walk(root))):
        roots = sorted(root.glob("*.[zZ][iI][pP]")) or roots
    return open_images(roots)


def _given(table: Table, column: str, group_column: str | None) -> dict[str, Tensor]:
    """Rows of the splits that a column names; no group may stand in two of them."""
    rows: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    first: dict[str, tuple[str, Row]] = {}
    groups = table.column(group_column) if group_column else None
    for row, (line, cell) in enumerate(zip(table.rows, table.column(column), strict=True)):
        split = SPLITS.get(cell.lower())
        if split is None:
            line.fail(f"'{column}' is {cell!r}; splits are {', '.join(SPLITS)}")
        rows[split].append(row)
        if groups:
            other, there = first.setdefault(groups[row], (split, line))
            if other != split:
                problem = f"{group_column} {groups[row]!r} is in {split}, but in {other} at line {there.number}"
                line.fail(f"{problem}; no group may be in two splits")
    return {split: torch.tensor(found, dtype=torch.long) for split, found in rows.items() if found}
