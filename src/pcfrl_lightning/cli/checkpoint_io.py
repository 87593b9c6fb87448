"""How checkpoints are written: whole or not at all."""

from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.files import replacing


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
            with replacing(Path(path)) as part:
                part.write_bytes(content.getbuffer())
        except OSError as error:
            state = "the one before is untouched" if Path(path).exists() else "nothing is left of it"
            raise UsageError(
                f"{path} cannot be written: {error.strerror or error}; {state}. Make room, then go on with the last "
                "checkpoint (--ckpt_path)"
            ) from error
