"""Byte ranges of the files of a pack, in a folder or at an fsspec URL."""

import os
from pathlib import Path
from typing import Any

from pcfrl_lightning.errors import DataError


class Storage:
    """The files of one folder; may be pickled, forked and used by several threads.

    A local file is opened for each read (3 microseconds) and not mapped: a part that is cut meanwhile is then an error
    and not the end of the process, and thousands of parts take no descriptors.  Of a URL, each read is one request; a
    chained URL such as `simplecache::s3://bucket/pack` keeps whole parts on the local disk.

    Attributes:
        reads_at_once: how many reads should be under way, so that they need not wait for each other.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)
        self.remote = is_url(root)
        self.reads_at_once = 32 if self.remote else 1

    def sizes(self) -> dict[str, int]:
        """Bytes of every file, by name.  Raises FileNotFoundError where the folder is absent."""
        if self.remote:
            system, path = self._system()
            return {entry["name"].rpartition("/")[2]: entry["size"] for entry in system.ls(path, detail=True)}
        with os.scandir(self.root) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}

    def read(self, name: str, start: int = 0, count: int | None = None) -> bytes:
        """``count`` bytes from ``start`` on (None: all), fewer where the file ends before."""
        if self.remote:
            system, path = self._system()
            end = None if count is None else start + count
            return bytes(system.cat_file(f"{path.rstrip('/')}/{name}", start=start, end=end))
        descriptor = os.open(f"{self.root}/{name}", os.O_RDONLY)
        try:
            return os.pread(descriptor, os.fstat(descriptor).st_size if count is None else count, start)
        finally:
            os.close(descriptor)

    def _system(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs  # keeps one file system for each process and thread

        try:
            return url_to_fs(self.root)
        except (ImportError, ValueError) as error:  # the package of a protocol, or the protocol, is not known
            raise DataError(f"{self.root}: {error}") from None


def is_url(root: str | Path) -> bool:
    """Whether a root is an fsspec URL and not a path."""
    return "://" in str(root)
