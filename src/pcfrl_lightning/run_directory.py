"""Where a run keeps its files."""

from pathlib import Path

import lightning as L
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger


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
