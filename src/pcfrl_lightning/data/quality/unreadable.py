"""Corrupt or empty images: skipped and listed when rare, an error when not."""

import json
import logging
import os
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing.pool import ThreadPool
from pathlib import Path

from tqdm import tqdm

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.images.sources import CorruptImage, ImageSource, read_or_error
from pcfrl_lightning.distributed import cores
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.files import replacing

log = logging.getLogger(__name__)

TOLERATED_SHARE = 0.01
_CHUNK = 64  # images that a thread takes at a time


def cache_folder() -> Path:
    """Folder of what is computed once of data sets: `$PCFRL_CACHE`, the user's cache folder, or a temporary one."""
    if given := os.environ.get("PCFRL_CACHE"):
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "pcfrl-lightning"
    except RuntimeError:  # a user id without an account, and no $HOME
        return _temporary_cache()


@cache
def _temporary_cache() -> Path:
    folder = Path(tempfile.gettempdir()) / f"pcfrl-lightning-{os.getuid()}"
    log.warning("there is no home folder: results about data sets are kept in %s; set PCFRL_CACHE to choose", folder)
    return folder


def without_unreadable(faces: FaceSet, report_folder: Path | None = None, total: int | None = None) -> FaceSet:
    """The set without its unreadable images, itself if there are none; labels and pairs stay aligned.

    Every image is decoded once; the outcome is kept in the cache folder under the fingerprint of the source.  The names
    are listed in ``report_folder`` (default: the cache folder).

    Raises:
        DataError: all, or more than 1 % of `total` (the size of the set that `faces` is a part of) are unreadable.
    """
    if faces.source.always_readable or len(faces) == 0:
        return faces
    unreadable = _unreadable_rows(faces.source, faces.name)
    if not unreadable:
        return faces
    record = UnreadableLog(faces.name, total or len(faces), report_folder or cache_folder())
    record.add((faces.source.name(row), reason) for row, reason in unreadable.items())
    if len(unreadable) == len(faces):
        raise DataError(f"{faces.name}: none of {len(faces)} images can be read; replace those listed in {record.path}")
    record.summarise("left out")
    return faces.subset([row for row in range(len(faces)) if row not in unreadable])


class UnreadableLog:
    """Counts unreadable items of a set, lists them in a file and stops the run when they are not rare.

    An item is what the set has one row for, an image or a video; each counts once, however often it was met.  Each
    process of a run writes a list of its own, `unreadable_<name>.txt` with `_rank<r>` before the dot for rank r > 0, in
    one folder for all, and compares the items that all of them know of with 1 % of the `total` items of the set.  The
    list of an earlier run is removed.
    """

    def __init__(self, name: str, total: int, folder: Path, rank: int = 0, replicas: int = 1) -> None:
        self.name, self.total, self.rank = name, total, rank
        stem = f"unreadable_{name.replace('/', '_')}"
        self.paths = [folder / (f"{stem}_rank{other}.txt" if other else f"{stem}.txt") for other in range(replicas)]
        self.path = self.paths[rank]
        self.entries: dict[str, str] = {}
        with suppress(OSError):
            self.path.unlink()

    def add(self, entries: Iterable[tuple[str, str]]) -> None:
        """Record (name, reason) pairs; DataError once more than 1 % of the set is unreadable, counting all ranks."""
        before = len(self.entries)
        for name, reason in entries:
            self.entries.setdefault(name, reason)
        if len(self.entries) == before:
            return
        try:
            write_names(self.path, (f"{name}\t{reason}" for name, reason in self.entries.items()))
        except OSError as error:
            log.warning("%s: the list of unreadable images cannot be kept (%s)", self.name, error)
        known = self._known()
        if len(known) > TOLERATED_SHARE * self.total:
            first, reason = next(iter(known.items()))
            problem = (
                f"{len(known)} of {self.total} images cannot be read (more than 1 %), the first is {first} ({reason})"
            )
            raise DataError(f"{self.name}: {problem}; replace or remove the files listed in {self._lists()}")

    def summarise(self, treatment: str) -> None:
        """Log the count of all ranks in one line on rank 0, if there is anything to say."""
        known = {} if self.rank else self._known()
        if known:
            log.warning(
                "%s: %d of %d images cannot be read and were %s; names in %s",
                self.name, len(known), self.total, treatment, self._lists(),
            )  # fmt: skip

    def _known(self) -> dict[str, str]:
        """Name -> reason of all ranks, this one's first."""
        others = [path for path in self.paths if path != self.path and path.is_file()]
        texts = [path.read_text(encoding="utf-8", errors="surrogateescape") for path in others]
        lines = [line.split("\t", 1) for text in texts for line in text.split("\n") if "\t" in line]
        return {**self.entries, **dict(lines), **self.entries}

    def _lists(self) -> str:
        return " and ".join(str(path) for path in self.paths if path.is_file()) or ", ".join(self.entries)


def write_names(path: Path, lines: Iterable[str]) -> None:
    """Write lines that hold names of files, in any encoding, in one step: no other process sees half of them."""
    with replacing(path, shared=True) as part:
        part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", errors="surrogateescape")


def _unreadable_rows(source: ImageSource, name: str) -> dict[int, str]:
    """Row -> reason, from the cache (known bad rows are tried again, they may have been repaired) or a full scan."""
    kept = cache_folder() / "verified" / f"{source.fingerprint()}.json"
    try:
        rows: Sequence[int] = [range(len(source))[row] for row in json.loads(kept.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, IndexError, RecursionError):
        rows = range(len(source))
    found = scan_images(source, rows, name)
    try:
        write_names(kept, [json.dumps(sorted(found))])
    except OSError as error:
        log.warning("%s: the outcome of the verification cannot be kept (%s)", name, error)
    return found


def scan_images(source: ImageSource, rows: Sequence[int], name: str) -> dict[int, str]:
    """Try to read some rows, with a progress bar; returns the reason of each that failed."""

    def reason(row: int) -> str | None:
        result = read_or_error(source, row)
        return result.reason if isinstance(result, CorruptImage) else None

    with ThreadPool(cores()) as pool:
        reasons = list(tqdm(pool.imap(reason, rows, _CHUNK), f"verify {name}", len(rows), delay=2))
    return {row: text for row, text in zip(rows, reasons, strict=True) if text is not None}
