"""Which command is for which model: pretrained ones write features, probes are measured."""

import lightning as L
from lightning.pytorch.utilities.model_helpers import is_overridden

from pcfrl_lightning.errors import UsageError

STEPS = {"validate": "validation_step", "test": "test_step"}
"""What Lightning calls for each batch."""


def check_purpose(stage: str, model: L.LightningModule, checkpoint: object) -> None:
    """Refuse a stage that the model has no step for, and features of an untrained network.

    Args:
        stage: ``fit``, ``validate``, ``test`` or ``predict``.
        model: that of the configuration.
        checkpoint: ``ckpt_path`` of the command.

    Raises:
        UsageError: names the command or the option to use instead.
    """
    nothing = f"{type(model).__name__} has nothing to {stage}"
    if stage in STEPS and not is_overridden(STEPS[stage], model):
        raise UsageError(
            f"{nothing}: probes of its features are measured by `pcfrl evaluate CHECKPOINT --data-root ROOT`, or by "
            f"`pcfrl fit` and `pcfrl {stage}` with a config of configs/probe"
        )
    if stage == "predict" and not (is_overridden("predict_step", model) or is_overridden("forward", model)):
        raise UsageError(
            f"{nothing}: it is measured by `pcfrl test`; features are written with the config of the pretraining, "
            "such as configs/pretrain.yaml"
        )
    if stage == "predict" and not checkpoint:
        raise UsageError("`pcfrl predict` would write features of an untrained network: give --ckpt_path CHECKPOINT")
