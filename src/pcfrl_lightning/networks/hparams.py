"""Hyper-parameters as primitives: a checkpoint path alone rebuilds a module, with ``weights_only=True``."""

import inspect
import warnings

import lightning as L

from pcfrl_lightning.networks.spec import describe


def save_described_hyperparameters(module: L.LightningModule) -> None:
    """Call in ``__init__`` after ``super().__init__()``; keeps every argument of the caller as primitives.

    A yaml run gives primitives already; objects injected in Python are described by class path and arguments.
    """
    frame = inspect.currentframe()
    caller = frame.f_back if frame else None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is an instance of `nn.Module`.*")
        module.save_hyperparameters(frame=caller)
    described = {name: describe(value) for name, value in dict(module.hparams).items()}
    if "_instantiator" not in described:
        described["_instantiator"] = "lightning.pytorch.cli.instantiate_module"
    module.save_hyperparameters(described)
