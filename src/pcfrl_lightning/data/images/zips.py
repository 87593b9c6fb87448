"""Images read straight from zip archives, without extracting them."""

import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pcfrl_lightning.data.images.decode import CorruptImage, decode
from pcfrl_lightning.data.images.sources import ImageSource, SubsetSource, digest, is_image_name, safe_join
from pcfrl_lightning.errors import DataError


class ZipSource(ImageSource):
    """Image members of one or several zip archives, sorted by member name.

    Archives are opened once per process, so that the source can be pickled and used after a fork.

    Args:
        zip_paths: the archives.
        keep: which member names to take; default: everything with an image suffix.

    Raises:
        FileNotFoundError: an archive does not exist.
        DataError: an archive is damaged, or a member has an absolute name or one with `..`.
    """

    def __init__(
        self, zip_paths: str | Path | Sequence[str | Path], keep: Callable[[str], bool] = is_image_name
    ) -> None:
        paths = [zip_paths] if isinstance(zip_paths, (str, Path)) else zip_paths
        self.zip_paths = [Path(path).resolve() for path in paths]
        members = [
            (info.filename, archive, info.file_size, info.CRC)
            for archive, path in enumerate(self.zip_paths)
            for info in _members(path)
            if keep(info.filename)
        ]
        members.sort()
        self.members = members
        self._open: dict[int, zipfile.ZipFile] = {}
        self._pid = os.getpid()

    def __len__(self) -> int:
        return len(self.members)

    def name(self, index: int) -> str:
        return self.members[index][0]

    def read(self, index: int) -> np.ndarray:
        name, archive, _, _ = self.members[index]
        try:
            data = self._archive(archive).read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError) as error:
            raise CorruptImage(name, f"in {self.zip_paths[archive].name}: {error}") from None
        return decode(data, name)

    def ordered(self, names: Sequence[str], where: str) -> SubsetSource:
        """The members a list names, in its order.

        Args:
            names: member names.
            where: origin of the list, for the message.

        Raises:
            DataError: a name that is no member of the archives.
        """
        rows = {member[0]: row for row, member in enumerate(self.members)}
        missing = [name for name in names if name not in rows]
        if missing:
            archives = ", ".join(str(path) for path in self.zip_paths)
            raise DataError(f"{where}: {len(missing)} names are not in {archives}, the first is '{missing[0]}'")
        return SubsetSource(self, [rows[name] for name in names])

    def fingerprint(self) -> str:
        return digest(f"{name}\t{size}\t{crc}" for name, _, size, crc in self.members)

    def _archive(self, number: int) -> zipfile.ZipFile:
        if self._pid != os.getpid():  # a file position must not be shared with the parent process
            self._open, self._pid = {}, os.getpid()
        if number not in self._open:
            self._open[number] = zipfile.ZipFile(self.zip_paths[number])
        return self._open[number]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}


def _members(path: Path) -> list[zipfile.ZipInfo]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such zip archive")
    try:
        with zipfile.ZipFile(path) as archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
    except zipfile.BadZipFile as error:
        raise DataError(f"{path}: not a readable zip archive ({error}); copy or download it again") from None
    for info in members:
        safe_join(path.parent, info.filename, where=f"{path} (member)")
    return members
