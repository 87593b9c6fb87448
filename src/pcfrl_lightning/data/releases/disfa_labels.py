"""Subjects, folds and label files of DISFA."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np

from pcfrl_lightning.data.images.rows import read_rows
from pcfrl_lightning.data.releases.points import face_points, read_mat
from pcfrl_lightning.errors import DataError

ACTION_UNITS = (1, 2, 4, 6, 9, 12, 25, 26)
"""The eight units of the common protocol (the release also labels 5, 15, 17 and 20)."""

PARTS = (
    ("SN001", "SN002", "SN009", "SN010", "SN016", "SN026", "SN027", "SN030", "SN032"),
    ("SN006", "SN011", "SN012", "SN013", "SN018", "SN021", "SN024", "SN028", "SN031"),
    ("SN003", "SN004", "SN005", "SN007", "SN008", "SN017", "SN023", "SN025", "SN029"),
)
"""The three subject-exclusive parts that JAA-Net and ME-GraphAU share."""

MOST_INTENSE = 5
_COMPLETE = 0.99
"""Share of a subject's frames that must have all eight labels."""
_LAST_NUMBER = re.compile(r"(\d+)\D*$")


def read_intensities(folder: Path, subject: str) -> dict[int, np.ndarray]:
    """Frame (from 0) to its eight intensities 0..5, from `<subject>/<subject>_au<k>.txt`, lines `<frame>,<intensity>`.

    The files count frames from 1 (or from 0, as their first line shows).  A frame counts as labelled when all eight
    files have it; up to one frame in a hundred may lack one.

    Raises:
        FileNotFoundError: a label file is missing.
        DataError: an intensity out of range or a repeated frame, with file and line; a file that ends early.
    """
    paths = [folder / subject / f"{subject}_au{unit}.txt" for unit in ACTION_UNITS]
    columns = [_read_unit(path) for path in paths]
    common = set(columns[0]).intersection(*columns[1:])
    longest, shortest = max(map(len, columns)), min(range(len(columns)), key=lambda i: len(columns[i]))
    if len(common) < _COMPLETE * longest:
        raise DataError(
            f"{paths[shortest]}: {len(columns[shortest])} frames, other units of {subject} have {longest}; "
            "copy it again"
        )
    return {frame: np.array([column[frame] for column in columns], np.int64) for frame in sorted(common)}


def _read_unit(path: Path) -> dict[int, int]:
    result: dict[int, int] = {}
    first: int | None = None
    for row in read_rows(path, ","):
        row.expect(2)
        number = row.integer(0, 0, 10**7)
        if first is None:
            first = min(number, 1)
        if number - first in result or number < first:
            row.fail(f"frame {number} stands twice or out of order")
        result[number - first] = row.integer(1, 0, MOST_INTENSE)
    return result


def first_number(found: Iterable[Collection[int]], labelled: Iterable[Collection[int]], what: str) -> int:
    """Whether files are numbered from 0 (a subject has a file 0) or from 1 (none has one, and one has a file behind its
    last label), told by the numbers of the files and the labelled frames, from 0, of all subjects in one order.

    Raises:
        DataError: neither holds, or both: the labels could be shifted by one.
    """
    pairs = [(numbers, max(frames)) for numbers, frames in zip(found, labelled, strict=True) if numbers and frames]
    zero = any(0 in numbers for numbers, _ in pairs)
    one = any(0 not in numbers and max(numbers) > last for numbers, last in pairs)
    if zero == one:
        reason = (
            "some subjects begin with 0 and others end behind their last label"
            if zero
            else ("no subject has a file 0, and none has a file with the number of its labels")
        )
        raise DataError(f"{what}: cannot tell whether they count from 0 or from 1: {reason}")
    return int(one)


def landmark_files(folder: Path, subject: str) -> dict[int, Path]:
    """`.mat` files of a subject by their number.

    Raises:
        FileNotFoundError: no such files.
    """
    paths = [(path, _LAST_NUMBER.search(path.stem)) for path in (folder / subject).rglob("[!.]*.mat")]
    files = {int(match.group(1)): path for path, match in paths if match}
    if not files:
        raise FileNotFoundError(f"no landmark files under {folder / subject}; use another cropping")
    return files


def read_landmarks(path: Path) -> np.ndarray:
    """The 66 points (66, 2) float32 of a `.mat` file; raises DataError for a damaged one and for other points."""
    return face_points(read_mat(path, ["pts"])["pts"], 66, path)
