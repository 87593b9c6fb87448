"""Files of ``pcfrl validate``, ``test`` and ``predict`` in a run folder that ``pcfrl fit`` may have written before."""

from collections.abc import Iterable

from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.rank_zero import rank_zero_only


class StageWriter(ExperimentWriter):
    """Writes ``metrics_<stage>.csv`` and ``hparams_<stage>.yaml``; the log of the training stays what it was.

    Args:
        log_dir: the run folder.
        stage: ``validate``, ``test`` or ``predict``.
    """

    def __init__(self, log_dir: str, stage: str) -> None:
        self.NAME_METRICS_FILE = f"metrics_{stage}.csv"
        self.NAME_HPARAMS_FILE = f"hparams_{stage}.yaml"
        super().__init__(log_dir)

    def _check_log_dir_exists(self) -> None:
        """Remove the file of an earlier run of the stage, and no other."""
        if self._fs.isfile(self.metrics_file_path):
            self._fs.rm_file(self.metrics_file_path)


@rank_zero_only
def separate_logs(loggers: Iterable[Logger], stage: str) -> None:
    """Let loggers that write into the run folder use files of the stage; to be called before they write.

    Args:
        loggers: those of the trainer.
        stage: ``validate``, ``test`` or ``predict``.
    """
    for logger in loggers:
        if isinstance(logger, CSVLogger):
            logger._experiment = StageWriter(logger.log_dir, stage)


def config_name(stage: str) -> str:
    """File of the configuration of a stage: that of the training can be given to ``pcfrl fit --config`` again."""
    name = TrainerFn(stage).value  # Lightning gives a member, which prints as its own name
    return "config.yaml" if name == "fit" else f"config_{name}.yaml"
