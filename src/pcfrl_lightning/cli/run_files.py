"""What the training commands write into the folder of a run."""

from contextlib import suppress
from pathlib import Path

import lightning as L
import yaml
from lightning.pytorch.cli import SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from pcfrl_lightning.run_directory import run_directory


class SaveConfig(SaveConfigCallback):
    """Saves ``config.yaml`` (``config_<stage>.yaml`` for validate and test) into the run directory, and hands the
    values to the loggers."""

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write the file, and give the whole configuration to the loggers."""
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
