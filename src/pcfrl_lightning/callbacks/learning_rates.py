"""The learning rate beside the statistics of the steps."""

from typing import Any

import lightning as L

from pcfrl_lightning.host_copy import write_row


class LearningRates(L.Callback):
    """Logs ``lr-OPTIMIZER`` at the steps that are logged, of several parameter groups ``lr-OPTIMIZER/pg1`` and so on.

    Lightning's LearningRateMonitor copies the rate to the device at each of them, and waits.
    """

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        if not trainer._logger_connector.should_update_logs:
            return
        row = {}
        for optimizer in trainer.optimizers:
            for number, group in enumerate(optimizer.param_groups, start=1):
                suffix = f"/pg{number}" if len(optimizer.param_groups) > 1 else ""
                row[f"lr-{type(optimizer).__name__}{suffix}"] = float(group["lr"])
        write_row(trainer, row)
