"""Images read straight from zip archives, without extracting them."""

import os
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from pcfrl_lightning.data.images.decode import CorruptImage, decode
from pcfrl_lightning.data.images.sources import ImageSource, digest, inside, is_image_name
from pcfrl_lightning.errors import DataError

LARGEST = 1 << 28
"""Bytes of the largest image file that is read from an archive; a few kilobytes can be packed to inflate to more."""
MOST_GROWTH = 100
"""How much larger than packed any other member may be that takes more than `LARGEST` bytes."""


def check_growth(info: zipfile.ZipInfo, where: str | Path) -> None:
    """Refuse a member (text, array) that unpacks to far more than any data do; the DataError names the archive, too."""
    if info.file_size > max(LARGEST, MOST_GROWTH * info.compress_size):
        raise DataError(
            f"{where}: {info.filename} unpacks from {info.compress_size} to {info.file_size} bytes, which no data do; "
            "copy the archive again"
        )


def files_in(archive: str | Path | IO[bytes], where: str | Path, advice: str) -> list[zipfile.ZipInfo]:
    """The files in a zip archive; where it cannot be read, a DataError of ``where``, the reason and ``advice``."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return [info for info in opened.infolist() if not info.filename.endswith(("/", "\\"))]
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:  # a name may be no UTF-8
        raise DataError(f"{where}: not a readable zip archive ({error}); {advice}") from None


class Member(NamedTuple):
    """An image in an archive: its name with forward slashes, the archive, its name there, size and checksum."""

    name: str
    archive: int
    stored_name: str
    size: int
    crc: int


class ZipSource(ImageSource):
    """Image members of one or several zip archives, sorted by member name.

    Archives are opened once per process, so that the source can be pickled and used after a fork.  By `zipfile` and
    not by fsspec, which would have to be opened anew after a fork as well, and which needs 0.18 s for that and 45
    microseconds for each of 7,178 members where `zipfile` needs 0.04 s and 33 microseconds.

    Args:
        zip_paths: the archives.
        keep: which member names to take; default: everything with an image suffix.

    Raises:
        FileNotFoundError: an archive does not exist.
        DataError: an archive is damaged, holds two images of one name, or a member whose name is absolute or leads
            out of the archive.
    """

    def __init__(
        self, zip_paths: str | Path | Sequence[str | Path], keep: Callable[[str], bool] = is_image_name
    ) -> None:
        paths = [zip_paths] if isinstance(zip_paths, (str, Path)) else zip_paths
        self.zip_paths = [Path(path).resolve() for path in paths]
        self.members = sorted(
            member for number, path in enumerate(self.zip_paths) for member in _members(path, number, keep)
        )
        self._open: dict[int, zipfile.ZipFile] = {}
        self._pid = os.getpid()

    def __len__(self) -> int:
        return len(self.members)

    def name(self, index: int) -> str:
        return self.members[index].name

    def read(self, index: int) -> np.ndarray:
        member = self.members[index]
        try:
            if member.size > LARGEST:
                raise OSError(f"{member.size} bytes when unpacked, more than {LARGEST}")
            with self._archive(member.archive).open(member.stored_name) as file:
                data = file.read(LARGEST)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
            raise CorruptImage(member.name, f"in {self.zip_paths[member.archive].name}: {error}") from None
        return decode(data, member.name)

    def fingerprint(self) -> str:
        return digest(f"{member.name}\t{member.size}\t{member.crc}" for member in self.members)

    def _archive(self, number: int) -> zipfile.ZipFile:
        if self._pid != os.getpid():  # a file position must not be shared with the parent process
            self._open, self._pid = {}, os.getpid()
        if number not in self._open:
            self._open[number] = zipfile.ZipFile(self.zip_paths[number])
        return self._open[number]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}


def _members(path: Path, number: int, keep: Callable[[str], bool]) -> list[Member]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such zip archive")
    members = [
        Member(inside(info.filename, f"{path} (member)"), number, info.filename, info.file_size, info.CRC)
        for info in files_in(path, path, "copy or download it again")
    ]
    kept = [member for member in members if keep(member.name)]
    name, times = max(Counter(member.name for member in kept).items(), key=itemgetter(1), default=("", 0))
    if times > 1:
        raise DataError(f"{path}: holds {times} images {name}; unpack it and pack one of them")
    return kept
