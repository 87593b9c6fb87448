"""Images that are decoded once, into a file that workers, processes and later runs share."""

import json
import os
import shutil
from collections.abc import Iterator
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, Literal

import numpy as np
from tqdm import tqdm

from pcfrl_lightning.data.images.sources import CorruptImage, ImageSource, WrappedSource, read_or_error
from pcfrl_lightning.distributed import cores
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.files import alone, replacing

CacheKind = Literal["none", "disk", "memory"]
_CHUNK = 64  # images in memory at once, between two notes of what is done
_FORMAT = 1
_MEMORY = 0.8  # the most of the machine's memory that images may take
_NOTHING: dict[str, Any] = {"format": _FORMAT, "rows": 0, "bytes": 0, "reasons": {}}
_NOTE, _PIXELS, _SHAPES = "done.json", "pixels.bin", "shapes.npy"


class DecodedImages(WrappedSource):
    """A source whose images are in one file as they were decoded; unreadable ones fail as they did then.

    Args:
        source: where they are from.
        folder: what `decode_once` wrote.
        in_memory: read the file now, for this process and the workers that are forked from it.
    """

    def __init__(self, source: ImageSource, folder: Path, in_memory: bool = False) -> None:
        self.source, self.folder, self.in_memory = source, folder, in_memory
        self.shapes = np.load(folder / _SHAPES)
        self.reasons = {int(row): reason for row, reason in json.loads((folder / _NOTE).read_text())["reasons"].items()}
        self._ends = np.concatenate([[0], self.shapes.prod(1).cumsum() * 3])
        size = int(self._ends[-1])
        if in_memory or not size:
            self.check_memory(1)
            self._pixels = np.fromfile(folder / _PIXELS, np.uint8, size)
        else:
            self._pixels = np.memmap(folder / _PIXELS, np.uint8, "r", shape=(size,))

    def read(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index in self.reasons:
            raise CorruptImage(self.name(index), self.reasons[index])
        return np.array(self._pixels[self._ends[index] : self._ends[index + 1]]).reshape(*self.shapes[index], 3)

    def check_memory(self, copies: int) -> None:
        """DataError if so many copies of the images do not fit into the memory of the machine."""
        needed, memory = copies * int(self._ends[-1]), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if needed > _MEMORY * memory:
            raise DataError(
                f"cache: memory needs {needed / 1e9:.1f} GB for decoded images and the machine has "
                f"{memory / 1e9:.1f} GB of memory; use cache: disk"
            )

    def __reduce__(self) -> tuple[Any, ...]:
        return DecodedImages, (self.source, self.folder, self.in_memory)  # a process that is not forked opens the file


def decode_once(source: ImageSource, folder: Path, name: str) -> Path:
    """Decode all images of a source into a folder below ``folder``, or find them there; returns that folder.

    It is named after the fingerprint of the source. An interrupted run is gone on with; of two processes one waits.
    Unreadable images are tried again each time, and if one has become readable, all are decoded anew.

    Raises:
        DataError: an item stands for several images, or they do not fit on the disk.
    """
    if source.varied:
        raise DataError(
            f"{name}: an item stands for several images, of which another one is drawn each time; they cannot be kept "
            "decoded, use cache: none"
        )
    folder = folder / "decoded" / source.fingerprint()[:32]
    try:
        with alone(folder, wait=True):
            note = _read_note(folder, len(source))
            if not all(isinstance(read_or_error(source, int(row)), CorruptImage) for row in note["reasons"]):
                note = _NOTHING  # a disk or network that failed for a while
            if note["rows"] < len(source):
                _decode(source, folder, {**note, "reasons": dict(note["reasons"])}, name)
    except OSError as error:
        raise DataError(
            f"{name}: decoded images cannot be kept in {folder} ({error.strerror or error}); choose another folder by "
            "PCFRL_CACHE, or use cache: none"
        ) from error
    return folder


def _decode(source: ImageSource, folder: Path, note: dict[str, Any], name: str) -> None:
    total, rows, written = len(source), note["rows"], note["bytes"]
    if rows == 0:
        (folder / _PIXELS).unlink(missing_ok=True)  # a run that reads the old file goes on reading it
        np.save(folder / _SHAPES, np.zeros((total, 2), np.int64))
    shapes = np.load(folder / _SHAPES, mmap_mode="r+")
    shapes[rows:] = 0
    with (folder / _PIXELS).open("ab"), (folder / _PIXELS).open("r+b") as file:
        file.seek(written)
        for images in _chunks(source, rows, name):
            for row, image in enumerate(images, rows):
                if isinstance(image, CorruptImage):
                    note["reasons"][str(row)] = image.reason
                else:
                    shapes[row] = image.shape[:2]
                    written += file.write(image.tobytes())
            rows += len(images)
            file.flush()
            os.fsync(file.fileno())
            shapes.flush()
            note.update(rows=rows, bytes=written)
            with replacing(folder / _NOTE) as part:
                part.write_text(json.dumps(note))
            expected = round(written / rows * (total - rows))
            if expected > shutil.disk_usage(folder).free:
                raise OSError(f"{(written + expected) / 1e9:.1f} GB are more than there is")


def _chunks(source: ImageSource, first: int, name: str) -> Iterator[list[np.ndarray | CorruptImage]]:
    """Images in order, decoded in threads, with a progress bar."""
    with ThreadPool(cores()) as pool, tqdm(total=len(source), initial=first, desc=f"decode {name}") as bar:
        for start in range(first, len(source), _CHUNK):
            rows = range(start, min(start + _CHUNK, len(source)))
            yield pool.map(partial(read_or_error, source), rows)
            bar.update(len(rows))


def _read_note(folder: Path, total: int) -> dict[str, Any]:
    """What is done; nothing, where the files are not those that it tells of."""
    try:
        note: dict[str, Any] = json.loads((folder / _NOTE).read_text())
        whole = (folder / _PIXELS).stat().st_size >= note["bytes"] and isinstance(note["reasons"], dict)
        if note["format"] == _FORMAT and whole and len(np.load(folder / _SHAPES, mmap_mode="r")) == total:
            return note
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        pass
    return _NOTHING
