"""How checkpoints are written: whole or not at all."""

import os
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from pcfrl_lightning.errors import UsageError


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the one it replaces, waits until the disk has it, and then renames it.

    Lightning writes into the temporary folder (``TMPDIR``). Where that is another file system than the folder of the
    run, as on clusters, the last step is a copy, and a run that ends in it leaves half a file in place of the old one.
    Addresses of object storage (``s3://...``) are left to Lightning: there a file appears when it is complete.

    Raises:
        UsageError: the file cannot be written, for instance because the disk is full; the one before stays.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``, or raise and leave ``path`` as it was."""
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        content = BytesIO()
        torch.save(checkpoint, content)
        try:
            write_whole(Path(path), content.getbuffer())
        except OSError as error:
            state = "the one before is untouched" if Path(path).exists() else "nothing is left of it"
            raise UsageError(
                f"{path} cannot be written: {error.strerror or error}; {state}. Make room, then go on with the last "
                "checkpoint (--ckpt_path)"
            ) from error


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file in one step: after a crash or an error it is the old one or the new one, and nothing is left over.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise
    with suppress(OSError):  # some file systems cannot do it for a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
