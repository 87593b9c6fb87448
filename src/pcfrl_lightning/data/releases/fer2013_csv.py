"""The official csv of FER-2013: columns emotion, pixels, Usage."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from pcfrl_lightning.data.images.rows import open_text
from pcfrl_lightning.data.images.sources import ArraySource
from pcfrl_lightning.data.quality.unreadable import UnreadableLog, cache_folder
from pcfrl_lightning.errors import DataError

_HEADER = ("emotion", "pixels", "usage")
_SIDE = 48


def read_csv(
    path: Path, split_of_usage: Mapping[str, str], classes: int, report_folder: Path | None = None
) -> tuple[ArraySource, list[int], list[str]]:
    """Read the official csv; the columns may come in any order.

    Args:
        path: the csv.
        split_of_usage: lower-case usage to split name.
        classes: number of classes; codes are 0..classes-1.
        report_folder: where damaged rows are listed; default: the cache folder.

    Returns:
        The images, named by line (`line 2` is the first), their codes and their splits.

    Raises:
        DataError: not UTF-8 text, a wrong header, number of columns, code or usage (names the line), or more than 1 %
            of the rows without 2,304 pixels.
    """
    images: list[np.ndarray] = []
    names: list[str] = []
    labels: list[int] = []
    splits: list[str] = []
    damaged: list[tuple[str, str]] = []
    with open_text(path) as file:
        rows = csv.reader(file)
        header = next(rows, [])
        columns = _columns(path, header)
        for row in rows:
            where = f"line {rows.line_num}"
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header):
                problem = f"{len(row)} columns, but the header has {len(header)}; copy the file again"
                raise DataError(f"{path}:{rows.line_num}: {problem}")
            emotion, pixels, usage = (row[column].strip() for column in columns)
            image = _image(pixels)
            if image is None:
                damaged.append((where, f"not {_SIDE * _SIDE} numbers from 0 to 255"))
                continue
            if emotion not in map(str, range(classes)):
                raise DataError(f"{path} {where}: emotion must be 0..{classes - 1}, got '{emotion}'")
            if usage.lower() not in split_of_usage:
                raise DataError(f"{path} {where}: Usage must be Training, PublicTest or PrivateTest, got '{usage}'")
            images.append(image)
            names.append(where)
            labels.append(int(emotion))
            splits.append(split_of_usage[usage.lower()])
    record = UnreadableLog(path.name, len(images) + len(damaged), report_folder or cache_folder())
    record.add(damaged)
    record.summarise("left out")
    if not images:
        raise DataError(f"{path}: no rows below the header")
    return ArraySource(np.stack(images), names), labels, splits


def _columns(path: Path, header: list[str]) -> list[int]:
    found = [name.strip().lower() for name in header]
    if not set(_HEADER) <= set(found):
        raise DataError(f"{path}: expected the header 'emotion,pixels,Usage', found '{','.join(header)[:80]}'")
    return [found.index(name) for name in _HEADER]


def _image(pixels: str) -> np.ndarray | None:
    try:
        values = np.array(pixels.split(), dtype=np.int16)
    except (ValueError, OverflowError):
        return None
    if values.size != _SIDE * _SIDE or values.min() < 0 or values.max() > 255:
        return None
    return values.astype(np.uint8).reshape(_SIDE, _SIDE)
