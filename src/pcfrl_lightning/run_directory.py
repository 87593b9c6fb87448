"""Where a run keeps its files."""

from pathlib import Path

import lightning as L
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger


def run_directory(trainer: L.Trainer) -> Path:
    """The folder of the run: that of the first logger, beside its checkpoints; without a logger the trainer's root.

    Unlike ``trainer.log_dir``, which is the folder of all runs for loggers such as W&B, and which waits for the other
    ranks, it can be asked on one rank alone.
    """
    logger = trainer.logger
    if isinstance(logger, (CSVLogger, TensorBoardLogger)):
        return Path(logger.log_dir)
    if logger is None or not logger.save_dir:
        return Path(trainer.default_root_dir)
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return Path(logger.save_dir) / str(logger.name) / version
