"""The learning rate beside the statistics of the steps."""

from typing import Any

import lightning as L

from pcfrl_lightning.host_copy import write_row


class LearningRates(L.Callback):
    """Logs ``lr-OPTIMIZER`` at the steps that are logged, of several parameter groups ``lr-OPTIMIZER/pg1`` and so on;
    further optimisers of a class are ``lr-OPTIMIZER-1`` and so on.

    Lightning's LearningRateMonitor copies the rate to the device at each of them, and waits.
    """

    def on_train_batch_start(self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any) -> None:
        if not trainer._logger_connector.should_update_logs or trainer.fit_loop._should_accumulate():
            return
        row, kinds = {}, [type(optimizer).__name__ for optimizer in trainer.optimizers]
        for index, optimizer in enumerate(trainer.optimizers):
            earlier = kinds[:index].count(kinds[index])
            name = f"lr-{kinds[index]}" + (f"-{earlier}" if earlier else "")
            for number, group in enumerate(optimizer.param_groups, start=1):
                row[name + (f"/pg{number}" if len(optimizer.param_groups) > 1 else "")] = float(group["lr"])
        write_row(trainer, row)
