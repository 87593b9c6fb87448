"""Members of zip archives, also of one that was cut into parts, without unpacking or joining anything."""

import io
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import accumulate, product
from pathlib import Path
from string import ascii_lowercase
from typing import Any, NamedTuple

from pcfrl_lightning.data.images.sources import inside
from pcfrl_lightning.data.images.zips import files_in
from pcfrl_lightning.data.prepare.decode import Unusable
from pcfrl_lightning.errors import DataError

LARGEST = 1 << 30
"""Bytes of the largest member that is read; a few kilobytes can be packed to inflate to more."""
_PART = re.compile(r"(.*part)([a-z]{2})")  # vox2_dev_mp4_partaa, as `split` names them


class Joined(io.RawIOBase):
    """Files read as if they were one; reads are positioned, so that nothing is shared with other processes."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._files = [open(path, "rb") for path in paths]  # noqa: SIM115
        self._starts = [0, *accumulate(os.fstat(file.fileno()).st_size for file in self._files)]
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + (0, self._position, self._starts[-1])[whence]
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fills the buffer as far as one file goes."""
        for file, start, end in zip(self._files, self._starts, self._starts[1:], strict=False):
            if start <= self._position < end:
                count = min(len(buffer), end - self._position)
                data = os.pread(file.fileno(), count, self._position - start)
                buffer[: len(data)] = data
                self._position += len(data)
                return len(data)
        return 0

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


class Member(NamedTuple):
    """A file in an archive: its name, the files of the archive, where it begins, its sizes, method and checksum."""

    name: str
    archive: tuple[str, ...]
    start: int
    packed: int
    size: int
    method: int
    crc: int

    def read(self) -> bytes:
        """The content; raises Unusable where it is not what the archive says, or is too large."""
        if self.size > LARGEST:
            raise Unusable(f"{self.size} bytes when unpacked, more than {LARGEST}")
        file = _opened(self.archive)
        file.seek(self.start)
        header = file.read(30)  # the local header; its names may have another length than in the directory
        if header[:4] != b"PK\x03\x04":
            raise Unusable("damaged archive, no member at its place")
        file.seek(self.start + 30 + int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"))
        data = file.read(self.packed)
        if self.method == zipfile.ZIP_DEFLATED:
            try:
                data = zlib.decompressobj(-15).decompress(data, self.size + 1)
            except zlib.error as error:
                raise Unusable(f"damaged in the archive ({error})") from None
        if len(data) != self.size or zlib.crc32(data) != self.crc:
            raise Unusable("damaged in the archive (its checksum differs)")
        return data


def is_archive_name(name: str) -> bool:
    """Whether a file looks like a zip archive or a part of one."""
    return name.lower().endswith(".zip") or _PART.fullmatch(name) is not None


def archives_of(paths: Iterable[Path]) -> list[tuple[str, ...]]:
    """The zip archives among some files, each as the files it consists of, sorted; DataError if a part is missing."""
    found: set[tuple[str, ...]] = {(str(path),) for path in paths if path.suffix.lower() == ".zip"}
    groups: dict[str, list[str]] = {}
    for path in paths:
        if match := _PART.fullmatch(path.name):
            groups.setdefault(str(path.with_name(match[1])), []).append(match[2])
    for stem, ends in groups.items():
        for end, letters in zip(sorted(ends), product(ascii_lowercase, repeat=2), strict=False):
            if end != (expected := "".join(letters)):
                raise DataError(f"{stem}{expected}: is missing, and {stem}{end} is there; give all parts")
        found.add(tuple(stem + end for end in sorted(ends)))
    return sorted(found)


def members_of(archive: tuple[str, ...]) -> list[Member]:
    """All files in an archive.

    A DataError tells of one that cannot be read, is encrypted or compressed in an unusual way, or of a name that leads
    out of it.
    """
    infos = files_in(_opened(archive), archive[0], "all parts of it are needed, its list is in the last")
    for info in infos:
        if info.flag_bits & 1 or info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise DataError(f"{archive[0]}: {info.filename} is encrypted or of an unknown compression; unpack it first")
    return [
        Member(
            inside(info.filename, f"{archive[0]} (member)"), archive, info.header_offset, info.compress_size,
            info.file_size, info.compress_type, info.CRC,
        )
        for info in infos
    ]  # fmt: skip


@lru_cache(maxsize=8)
def _opened(archive: tuple[str, ...]) -> io.BufferedReader:
    return io.BufferedReader(Joined(archive))
