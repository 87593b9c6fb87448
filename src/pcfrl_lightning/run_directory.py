"""Where a run keeps its files, and that no other run writes there at the same time."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import gethostname
from typing import IO

import lightning as L
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from pcfrl_lightning.errors import UsageError

_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}
"""What file systems without locks answer; a run there goes on without one."""


def run_directory(trainer: L.Trainer) -> Path:
    """Folder of the first logger's run, else the trainer's root; unlike `trainer.log_dir` it does not wait for ranks,
    and is that of one run for every logger.
    """
    logger = trainer.logger
    if isinstance(logger, (CSVLogger, TensorBoardLogger)):
        return Path(logger.log_dir)
    if logger is None or not logger.save_dir:
        return Path(trainer.default_root_dir)
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir) / str(logger.name) / version


def newest_checkpoint(trainer: L.Trainer) -> Path | None:
    """The checkpoint that the run wrote last, by its step, as the clock of the disk may jump."""
    saved: list[tuple[int, Path]] = []
    for callback in trainer.checkpoint_callbacks:
        path = getattr(callback, "last_model_path", "") or getattr(callback, "best_model_path", "")
        if path and Path(path).is_file():
            saved.append((getattr(callback, "_last_global_step_saved", 0), Path(path)))
    return max(saved, key=lambda each: each[0])[1] if saved else None


@contextmanager
def claimed(trainer: L.Trainer) -> Iterator[None]:
    """While it lasts, the run folder of a CSV or TensorBoard logger belongs to this run; others name one per run.

    Of two runs that start together without a version, each gets a folder of its own. The lock is one of the operating
    system, so that it ends with the process however that ends. A folder that is still empty at the end is removed.

    Raises:
        UsageError: the version was given, and another run is writing there.
    """
    logger = trainer.logger
    if not isinstance(logger, (CSVLogger, TensorBoardLogger)) or not trainer.is_global_zero:
        yield
        return
    automatic = logger._version is None
    while True:
        folder = Path(logger.log_dir)
        with _locked(folder.absolute()) as owner:
            free = not owner and not (automatic and folder.exists())
            if free:
                folder.mkdir(parents=True, exist_ok=True)
                try:
                    yield
                finally:
                    with suppress(OSError):
                        folder.rmdir()
                return
        if not automatic:
            raise UsageError(
                f"{folder} belongs to a run that is still going on ({owner}): wait for its end, or give this run a "
                "folder of its own, such as --trainer.logger.version NAME"
            )
        logger._version = int(logger.version) + 1


@contextmanager
def _locked(folder: Path) -> Iterator[str]:
    """Holds the lock of a folder, a file beside it; gives who holds it, empty: this process."""
    path = folder.with_name(f".{folder.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with path.open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                yield "" if error.errno in _NO_LOCKS else file.read().strip() or "another process"
                return
            if not _same_file(file, path):  # its last owner has removed it since
                continue
            file.truncate(0)
            file.write(f"process {os.getpid()} on {gethostname()}")
            file.flush()
            try:
                yield ""
            finally:
                path.unlink(missing_ok=True)
            return


def _same_file(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
