"""A probe from start to end in one call."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar

from pcfrl_lightning.probes.probe import Probe

EPOCHS = 300
"""Of every linear probe (method section 9)."""


class ExtractionOnly(ProgressBar):
    """Shows the progress of feature extraction, which looks for a progress bar, and is silent in training."""

    def disable(self) -> None: ...

    def enable(self) -> None: ...


def measure(
    probe: Probe,
    data: L.LightningDataModule,
    epochs: int = EPOCHS,
    folder: str | Path = "runs/probe",
    accelerator: str = "auto",
    progress: bool = False,
) -> dict[str, Any]:
    """Fit a probe (where there is something to fit), test it, and return the content of its ``results.json``.

    Args:
        probe: a new one for every call.
        data: what it is trained, chosen and tested on; may be shared by several calls.
        epochs: of the linear layer.
        folder: where ``results.json`` and the table that is printed otherwise, ``report.txt``, are written.
        accelerator: of the Lightning trainer.
        progress: show that of feature extraction on standard error.

    Example:
        ``measure(LabelProbe("mood", checkpoint="last.ckpt"), data, epochs=30)["metrics"]["last"]["accuracy"]``
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "report.txt").open("w", encoding="utf-8", errors="backslashreplace") as report, _quiet():
        trainer = L.Trainer(
            max_epochs=epochs,
            accelerator=accelerator,
            devices=1,
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            callbacks=[ExtractionOnly()] if progress else [],
            enable_progress_bar=progress,
        )
        with contextlib.redirect_stdout(report):
            if probe.has_head:
                L.seed_everything(probe.source.seed, verbose=False)
                trainer.fit(probe, datamodule=data)
            trainer.test(probe, datamodule=data, verbose=False)
    return probe.results


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's remarks about hardware and workers do not belong into a table of fifteen probes."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        logger.setLevel(level)
