"""What the training commands write into the folder of a run."""

from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.files import replacing
from pcfrl_lightning.run_directory import run_directory


class SaveConfig(SaveConfigCallback):
    """Saves ``config.yaml`` (``config_<stage>.yaml`` for validate and test) into the run directory, and hands the
    values to the loggers."""

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        folder, name = run_directory(trainer), str(getattr(stage, "value", stage))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / ("config.yaml" if name == "fit" else f"config_{name}.yaml")
        self.parser.save(self.config, path, skip_none=False, overwrite=True, multifile=False)
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        for logger in trainer.loggers:
            logger.log_hyperparams({"config": config})


class _StageWriter(ExperimentWriter):
    def _check_log_dir_exists(self) -> None:
        with suppress(FileNotFoundError):  # of an earlier run of the stage, and no other
            Path(self.metrics_file_path).unlink()


def separate_logs(trainer: L.Trainer, stage: str) -> None:
    """CSV loggers write ``metrics_<stage>.csv`` and ``hparams_<stage>.yaml``: the log of the training stays.

    Lightning has no option for this.
    """
    names = {"NAME_METRICS_FILE": f"metrics_{stage}.csv", "NAME_HPARAMS_FILE": f"hparams_{stage}.yaml"}
    for logger in trainer.loggers if trainer.is_global_zero else []:
        if isinstance(logger, CSVLogger):
            logger._experiment = type("StageWriter", (_StageWriter,), names)(logger.log_dir)


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside the one it replaces, waits until the disk has it, and then renames it.

    Lightning writes into the temporary folder (``TMPDIR``). Where that is another file system than the folder of the
    run, as on clusters, the last step is a copy, and a run that ends in it leaves half a file in place of the old one.
    Addresses of object storage (``s3://...``) are left to Lightning: there a file appears when it is complete.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``; UsageError where that fails, as on a full disk, and ``path`` stays."""
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
