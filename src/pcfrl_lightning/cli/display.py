"""What Lightning shows on the terminal: Rich progress and summary, and nothing about products."""

import logging
from collections.abc import Mapping
from typing import Any

from lightning.pytorch.callbacks import Callback, ModelSummary, ProgressBar, RichModelSummary, RichProgressBar
from lightning_utilities.core.imports import RequirementCache

RICH_BAR_WORKS = bool(RequirementCache("lightning>=2.5.3") or RequirementCache("rich<14.1"))
"""The bar of Lightning 2.5.2 dies with newer versions of Rich; Lightning then shows its other one."""


def with_display(trainer: Mapping[str, Any]) -> list[Callback]:
    """The configured callbacks, and Rich's bar and summary unless they are switched off or others are configured.

    Args:
        trainer: arguments of the Trainer.
    """
    configured = trainer.get("callbacks") or []
    callbacks = list(configured) if isinstance(configured, (list, tuple)) else [configured]
    for key, kind, rich in (
        ("enable_progress_bar", ProgressBar, RichProgressBar),
        ("enable_model_summary", ModelSummary, RichModelSummary),
    ):
        works = RICH_BAR_WORKS or rich is not RichProgressBar
        wanted = works and trainer.get(key) is not False and not trainer.get("barebones")
        if wanted and not any(isinstance(callback, kind) for callback in callbacks):
            callbacks.append(rich())
    return callbacks


def silence_advertisement() -> None:
    """Keep Lightning's log to lines about the run."""
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(no_advertisement)


def no_advertisement(record: logging.LogRecord) -> bool:
    """Whether a line of Lightning's log is about the run, and not about a product."""
    return "litlogger" not in record.getMessage()
