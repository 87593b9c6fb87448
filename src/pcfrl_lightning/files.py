"""Files that appear whole or not at all, and folders of one process at a time."""

import fcntl
import hashlib
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from pcfrl_lightning.errors import UsageError

log = logging.getLogger(__name__)


@contextmanager
def replacing(path: Path, shared: bool = False) -> Iterator[Path]:
    """Gives the path to write to in place of ``path``; what was written there becomes ``path`` when the block ends.

    After an error or a crash, also of the machine, ``path`` is what it was before or the complete new file.

    Args:
        path: the file; its folder is made.
        shared: several processes may write it at the same time, so each writes beside it under a name of its own (by
            chance: in containers that share a folder processes have the same numbers).
            Otherwise what a killed process left there is overwritten by the next.
    """
    part = path.with_name(f"{path.name}.{token_hex(8)}.part" if shared else f"{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
        with part.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:  # a full disk does not say which file
            error.filename = str(path)
        with suppress(OSError):
            part.unlink()
        raise
    sync_folder(path.parent)


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a file as a hex string, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Bring the names of the files of a folder to the disk, where the file system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def alone(folder: Path, wait: bool = False) -> Iterator[None]:
    """While it lasts, this process alone works in a folder, which is made.  A process that is killed lets go of it.

    UsageError where another process works there, unless this one is to ``wait`` for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not wait:
                raise UsageError(f"another process works in {folder}: wait for it, or give another --out") from None
            log.warning("another process works in %s; waiting for it", folder)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)
