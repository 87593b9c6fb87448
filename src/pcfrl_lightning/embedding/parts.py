"""Rows of features on disk: parts that appear whole or not at all, and one file made of them."""

import json
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import header_data_from_array_1_0, write_array_header_1_0

from pcfrl_lightning.errors import DataError, UsageError
from pcfrl_lightning.files import replacing

_EARLIEST = (1980, 1, 1, 0, 0, 0)  # a time in the file would make equal results unequal
_STATE = ("place", "last", "seen")
_NOT_ROWS = ("unreadable", *_STATE)


def is_features(path: Path) -> bool:
    """Whether a file is one of `FORMATS`, by its content."""
    if zipfile.is_zipfile(path):
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            return "about.json" in archive.namelist()
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


class Parts:
    """A folder of parts, each an npz file of the same columns with some rows.

    Beside its columns a part holds ``unreadable`` (lines about pictures without a row), and how far the parts up to it
    have come: ``place`` (input, number in it) and ``last`` (name) of the last picture, ``seen`` (how many pictures).

    Args:
        folder: made if it is not there.
        settings: what decides the content, in JSON's types.

    Raises:
        DataError: the folder has parts of other settings; names the first that differs.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder, stored = folder, folder / "settings.json"
        folder.mkdir(parents=True, exist_ok=True)
        if stored.is_file():
            try:
                there = dict(json.loads(stored.read_text(encoding="utf-8")))
            except (ValueError, TypeError, RecursionError) as error:
                raise DataError(f"{stored}: damaged ({error!s:.100}); remove {folder} to begin again") from None
            for key, here in json.loads(json.dumps(settings)).items():
                if there.get(key) != here:
                    raise DataError(
                        f"{folder} holds an unfinished run with {key} {there.get(key)!s:.80}, not {here!s:.80}: "
                        "remove it, or give another --out"
                    )
        else:
            with replacing(stored) as part:
                part.write_text(json.dumps(settings), encoding="utf-8")
        self._paths = sorted(folder.glob("*.npz"))

    def add(self, columns: Mapping[str, Any]) -> None:
        """Write one part; see the class for what it holds beside its columns."""
        path = self.folder / f"{len(self._paths):08d}.npz"
        with replacing(path) as part, part.open("wb") as file:
            np.savez(file, allow_pickle=False, **columns)
        self._paths.append(path)

    def state(self) -> dict[str, Any]:
        """``place``, ``last`` and ``seen`` of the last part; empty before the first."""
        return {key: value.tolist() for key, value in _read(self._paths[-1], _STATE).items()} if self._paths else {}

    def unreadable(self) -> list[str]:
        """Lines about all pictures without a row."""
        return [line for path in self._paths for line in _read(path, ["unreadable"])["unreadable"].tolist()]

    def rows(self, *names: str) -> Iterator[dict[str, np.ndarray]]:
        """Some columns of each part that has rows; all of them where none is named."""
        for path in self._paths:
            part = _read(path, names or None)
            if columns := {name: value for name, value in part.items() if name not in _NOT_ROWS}:
                yield columns

    def write(self, out: Path, form: str, about: Mapping[str, Any]) -> None:
        """Make the one file, in one of `FORMATS`.

        Raises:
            UsageError: too little space on the disk, or no pyarrow; the parts are kept.
        """
        needed = sum(path.stat().st_size for path in self.folder.iterdir())
        if needed > (free := shutil.disk_usage(out.parent).free):
            raise UsageError(
                f"{out} takes {needed / 1e9:.1f} GB, the disk has {free / 1e9:.1f} GB: make room and repeat the "
                f"command; the features are kept in {self.folder}"
            )
        with replacing(out) as part:
            FORMATS[form](self, part, about)


def write_npz(parts: Parts, path: Path, about: Mapping[str, Any]) -> None:
    """One array a column, stored as it is (``name`` is compressed), and ``about.json``."""
    sizes = [(len(each["name"]), each["name"].dtype) for each in parts.rows("name")]
    count, text = sum(rows for rows, _ in sizes), max(kind for _, kind in sizes)
    with zipfile.ZipFile(path, "w") as archive:
        for column, first in next(parts.rows()).items():
            kind = text if column == "name" else first.dtype
            info = zipfile.ZipInfo(f"{column}.npy", _EARLIEST)
            info.compress_type = zipfile.ZIP_DEFLATED if column == "name" else zipfile.ZIP_STORED
            with archive.open(info, "w", force_zip64=True) as file:
                header = header_data_from_array_1_0(np.empty(0, kind)) | {"shape": (count, *first.shape[1:])}
                write_array_header_1_0(file, header)
                for part in parts.rows(column):
                    file.write(part[column].astype(kind).tobytes())
        archive.writestr(zipfile.ZipInfo("about.json", _EARLIEST), json.dumps(about, indent=2))


def write_parquet(parts: Parts, path: Path, about: Mapping[str, Any]) -> None:
    """The same columns; a feature is a list of D float32, ``about`` the entry ``pcfrl`` of the metadata.

    Raises:
        UsageError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError("parquet needs pyarrow: pip install pcfrl-lightning[parquet], or --format npz") from None

    def column(values: np.ndarray) -> Any:
        if values.dtype.kind == "U":  # names that are no UTF-8 are escaped
            return pyarrow.array([text.encode("utf-8", "backslashreplace").decode() for text in values.tolist()])
        if values.ndim == 1:
            return pyarrow.array(values)
        return pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(values.reshape(-1)), values.shape[1])

    def table(part: Mapping[str, np.ndarray]) -> Any:
        columns = {name: column(value) for name, value in part.items()}
        return pyarrow.table(columns, metadata={"pcfrl": json.dumps(about)})

    with parquet.ParquetWriter(path, table(next(parts.rows())).schema) as writer:
        for part in parts.rows():
            writer.write_table(table(part))


FORMATS: dict[str, Callable[[Parts, Path, Mapping[str, Any]], None]] = {"npz": write_npz, "parquet": write_parquet}


def _read(path: Path, names: Iterable[str] | None) -> dict[str, np.ndarray]:
    """Arrays of a part, those of ``names`` that it has, or all.  Raises DataError, with its path, if it is damaged."""
    try:
        with np.load(path) as part:
            if absent := [name for name in _NOT_ROWS if name not in part.files]:
                raise ValueError(f"no {absent[0]}")
            return {name: part[name] for name in names or part.files if name in part.files}
    except Exception as error:  # numpy and zipfile have many types for what is no archive of arrays
        raise DataError(f"{path}: damaged ({error!s:.100}); remove {path.parent} to begin again") from None
