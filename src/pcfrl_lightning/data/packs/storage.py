"""Byte ranges of the files of a pack, on a disk or at an fsspec URL."""

import os
from abc import ABC, abstractmethod
from functools import lru_cache
from pathlib import Path
from typing import Any

_OPEN_FILES = 256


class Storage(ABC):
    """The files of one folder; may be pickled, forked and used by several threads.

    Attributes:
        reads_at_once: how many reads should be under way, so that they need not wait for each other.
    """

    reads_at_once = 1

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Bytes of every file, by name.  Raises FileNotFoundError where the folder is absent."""

    @abstractmethod
    def read(self, name: str, start: int = 0, count: int | None = None) -> bytes:
        """``count`` bytes from ``start`` on (None: all), less where the file ends before."""


class LocalStorage(Storage):
    """A folder, read by `os.pread`.

    Unlike with a memory map, a file that is cut meanwhile is an error and not the end of the process, and the pages
    that were read do not count as its memory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open = lru_cache(_OPEN_FILES)(self._opened)

    def sizes(self) -> dict[str, int]:
        with os.scandir(self.folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}

    def read(self, name: str, start: int = 0, count: int | None = None) -> bytes:
        if count is None:
            return (self.folder / name).read_bytes()[start:]
        return os.pread(self._open(name).number, count, start)

    def _opened(self, name: str) -> "_Descriptor":
        return _Descriptor(self.folder / name)

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["folder"])  # type: ignore[misc]


class _Descriptor:
    """An open file that is closed with its last user, as another thread may still read when the cache drops it."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if hasattr(self, "number"):
            os.close(self.number)


class RemoteStorage(Storage):
    """A folder at an fsspec URL such as `s3://bucket/pack`, one request a read; chained URLs such as
    `simplecache::s3://bucket/pack` keep whole parts on the local disk.
    """

    reads_at_once = 32

    def __init__(self, url: str) -> None:
        self.url = url

    def sizes(self) -> dict[str, int]:
        system, path = self._system()
        return {entry["name"].rstrip("/").rpartition("/")[2]: entry["size"] for entry in system.ls(path, detail=True)}

    def read(self, name: str, start: int = 0, count: int | None = None) -> bytes:
        system, path = self._system()
        end = None if count is None else start + count
        return bytes(system.cat_file(f"{path.rstrip('/')}/{name}", start=start, end=end))

    def _system(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs  # keeps one file system for each process and thread

        return url_to_fs(self.url)


def is_url(root: str | Path) -> bool:
    """Whether a root is an fsspec URL and not a path."""
    return "://" in str(root)


def open_storage(root: str | Path) -> Storage:
    """The storage of a path or URL."""
    return RemoteStorage(str(root)) if is_url(root) else LocalStorage(Path(root))
