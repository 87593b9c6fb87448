"""Writing the parts of a pack, so that a writer may be killed at any moment."""

import errno
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

import numpy as np

from pcfrl_lightning.data.packs.records import FRAME, HEAD, Record, canonical, header, parse, record, record_size
from pcfrl_lightning.errors import DataError, require
from pcfrl_lightning.files import file_sha256, replacing, sync_folder

_SHOWN = 500  # bytes of the settings of another writer


class PartWriter:
    """Appends clips to one part; continues behind the last complete clip of an interrupted writer.

    Args:
        folder: the pack; made if it does not exist.
        number: of the part, from 0.
        settings: JSON values that decide the bytes: `codec` with `size` or `quality` (see `codec_of`), `parts` (of the
            whole pack), and anything else that the frames depend on.

    Attributes:
        done: (identity, video, clip) of every clip in the part, in order; unusable ones too.
        unusable: identity, video, clip and reason of those that were skipped.

    Raises:
        DataError: the part is finished, was begun with other settings, is written by another process, or the disk is
            full; names the part.
    """

    def __init__(self, folder: str | Path, number: int, settings: Mapping[str, Any]) -> None:
        self.folder = Path(folder)
        self.path = self.folder / f"{part_name(number)}.bin"
        self.partial = self.path.with_suffix(".bin.partial")
        self.settings = dict(settings)
        if is_finished(folder, number):
            raise DataError(f"{self.path}: is finished; remove it and its .json to write it again")
        self.folder.mkdir(parents=True, exist_ok=True)
        with disk_errors(self.partial):
            self._file = self.partial.open("a+b", buffering=0)
        self._lock()
        self._clips: list[list[Any]] = []
        self.unusable: list[list[str]] = []
        self.done: list[tuple[str, str, str]] = []
        self._end = 0
        self._recover()

    def add(
        self,
        identity: str,
        video: str,
        clip: str,
        frames: Sequence[bytes],
        times: Sequence[float],
        numbers: Sequence[int],
    ) -> None:
        """Append a clip: its n encoded frames, their times in seconds and their numbers in the source, from 0."""
        if not len(frames) == len(times) == len(numbers) > 0:
            raise ValueError(f"{clip}: {len(frames)} frames, {len(times)} times and {len(numbers)} numbers")
        require(sum(map(len, frames)) < 1 << 32, f"{clip}: frames of one clip must be less than 4 GiB")
        table = np.empty(len(frames), FRAME)
        table["bytes"], table["number"], table["time"] = [len(frame) for frame in frames], numbers, times
        self._append((identity, video, clip), "", table, frames)

    def skip(self, identity: str, video: str, clip: str, reason: str) -> None:
        """Append that a clip cannot be used, and why (one line)."""
        self._append((identity, video, clip), reason or "unusable", np.empty(0, FRAME), [])

    def finish(self) -> None:
        """Make the part complete: on the disk, under its final name, with its checksum."""
        with disk_errors(self.partial):
            os.fsync(self._file.fileno())
            facts = {"bytes": self._end, "sha256": file_sha256(self.partial), "settings": self.settings}
            facts |= {"clips": self._clips, "unusable": self.unusable}
            write_atomically(self.path.with_suffix(".json"), canonical(facts))
            self.partial.replace(self.path)
            sync_folder(self.folder)
        self.close()

    def close(self) -> None:
        """Leave the part as it is, to be continued by another writer."""
        self._file.close()

    def __enter__(self) -> "PartWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, names: tuple[str, str, str], reason: str, table: np.ndarray, frames: Sequence[bytes]) -> None:
        data = record(names, reason, table, frames)
        self._write(data)
        self._note(Record(names, reason, table, len(data) - sum(map(len, frames))), len(data))

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            with disk_errors(self.partial):
                while left:
                    left = left[self._file.write(left) :]
        except DataError:
            self._file.truncate(self._end)
            raise

    def _note(self, clip: Record, size: int) -> None:
        """Count in the record at the end of the part, of so many bytes."""
        self.done.append(clip.names)
        if clip.reason:
            self.unusable.append([*clip.names, clip.reason])
        else:
            self._clips.append([*clip.names, self._end, self._end + clip.data, clip.frames["bytes"].tolist()])
        self._end += size

    def _recover(self) -> None:
        """Read what is there, and cut what is not a complete record."""
        begin, descriptor = header(self.settings), self._file.fileno()
        found = os.pread(descriptor, len(begin), 0)
        if not begin.startswith(found):
            self.close()
            raise DataError(f"{self.partial}: is no part of a pack with these settings; use those it has, or remove it")
        if found != begin:
            self._file.truncate(0)
            self._write(begin)
        self._end = len(begin)
        with mmap(descriptor, 0, access=ACCESS_READ) as part:  # one read gives 2 GiB at most
            while True:
                size = record_size(part[self._end : self._end + HEAD.size])
                clip = parse(part[self._end : self._end + size])
                if clip is None:
                    break
                self._note(clip, size)
        self._file.truncate(self._end)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):  # else a file system without locks
                self._file.close()
                raise DataError(f"{self.partial}: another process writes it; give each process its own shard") from None


def part_name(number: int) -> str:
    """Name of a part without suffix."""
    return f"part-{number:05d}"


def is_finished(folder: str | Path, number: int) -> bool:
    """Whether a part of a folder is complete."""
    path = Path(folder) / f"{part_name(number)}.bin"
    return path.is_file() and path.with_suffix(".json").is_file()


def write_atomically(path: Path, data: bytes | memoryview) -> None:
    """Write a small file in one step; several processes may do it at the same time."""
    with replacing(path, shared=True) as part:
        part.write_bytes(data)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn the error of a full disk into a DataError that names a path."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise DataError(
            f"{path}: the disk is full; what was written stays valid: free some space and run the command again"
        ) from None
