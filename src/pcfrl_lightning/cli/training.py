"""``pcfrl fit|validate|test|predict``: LightningCLI with this project's defaults."""

import os
import sys
import warnings
from typing import Any

import lightning as L
import torch
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.optim import Optimizer

from pcfrl_lightning.cli.blame import refusing_key
from pcfrl_lightning.cli.display import silence_advertisement, with_display
from pcfrl_lightning.cli.given import ImageSizeLink, arguments_of, given_values, seed_for
from pcfrl_lightning.cli.messages import OneLineParser, summary
from pcfrl_lightning.cli.purpose import check_purpose
from pcfrl_lightning.cli.resume import check_checkpoint
from pcfrl_lightning.cli.stage_files import config_name, separate_logs
from pcfrl_lightning.run_directory import run_directory
from pcfrl_lightning.schedule import scheduled

# Warnings of Lightning about things that are meant here: the optimizer comes from the yaml, pretraining has no
# validation step, small data sets have few batches.
EXPECTED_WARNINGS = (
    ".*configure_optimizers` will be overridden by.*",
    ".*have no `validation_step`.*",
    ".*number of training batches .* is smaller than the logging interval.*",
    ".*is not supported by the model summary.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
)
ALIASES = {"--baseline": "--model.baseline", "--checkpoint": "--model.checkpoint"}


class SaveConfig(SaveConfigCallback):
    """Saves ``config.yaml`` into the run directory and hands the values to the logger.

    Stages other than fit save ``config_<stage>.yaml``.
    """

    def save_config(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Write the file, and give the whole configuration to the loggers, flattened by them as they like."""
        import yaml

        folder = run_directory(trainer)
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / config_name(stage)
        self.parser.save(self.config, path, skip_none=False, overwrite=True, multifile=False)
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        for logger in trainer.loggers:
            if isinstance(logger, Logger):
                logger.log_hyperparams({"config": config})


class TrainingCLI(LightningCLI):
    """LightningCLI: any LightningModule and LightningDataModule by class path."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.image_size = ImageSizeLink()
        super().__init__(*args, **kwargs)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Images arrive at the size that the model was built for: one key, ``model.image_size``."""
        sources = ("model.init_args.image_size", "data")
        parser.link_arguments(sources, "data.init_args.image_size", compute_fn=self.image_size)

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Read the configuration, and apart from it what was given without the defaults of classes."""
        super().parse_arguments(parser, args)
        self.image_size.reset()
        self.given = given_values(parser, args)
        self.image_size.check()

    def instantiate_classes(self) -> None:
        """Build everything; a value that a class refuses ends in one line, before any data is read."""
        try:
            self._build_seeded()
        except (ValueError, TypeError) as error:
            sys.exit(f"pcfrl: {self._with_key(summary(str(error)))}")
        path = self._get(self.config, "ckpt_path")
        check_purpose(str(self.subcommand), self.model, path)
        if path and path not in ("last", "best", "hpc"):
            cosine = self.subcommand == "fit" and not self._get(self.config, "lr_scheduler")
            check_checkpoint(str(path), dict(self.model.hparams), self.trainer.max_epochs if cosine else None)
            if hasattr(self.model, "comes_from"):
                self.model.comes_from = str(path)

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Rich shows progress and parameters, whatever this version of Lightning would choose."""
        return super().instantiate_trainer(**kwargs, callbacks=with_display(self._get(self.config_init, "trainer")))

    def _build_seeded(self) -> None:
        """A model with a seed gets ``seed_everything``, unless ``model.seed`` is given.

        The saved configuration keeps ``seed_everything`` alone, so that another value given to it is heeded.
        """
        model = self._get(self.config, "model")
        seed = seed_for(model, self._get(self.given, "model"), self._get(self.config, "seed_everything"))
        if seed is not None:
            arguments_of(model)["seed"] = seed
        super().instantiate_classes()
        if seed is not None:
            arguments_of(model).pop("seed")

    def _with_key(self, message: str) -> str:
        given = {name: self._get(self.config, name) for name in ("model", "data", "optimizer")}
        key = refusing_key({name: section.as_dict() for name, section in given.items() if section is not None})
        return message if not key or message.startswith(f"{key}.") else f"{key}: {message}"

    def before_validate(self) -> None:
        """Leave the files of the training alone."""
        separate_logs(self.trainer.loggers, "validate")

    def before_test(self) -> None:
        """Leave the files of the training alone."""
        separate_logs(self.trainer.loggers, "test")

    def before_predict(self) -> None:
        """Leave the files of the training alone."""
        separate_logs(self.trainer.loggers, "predict")

    def _parse_ckpt_path(self) -> None:
        """The command line says what runs: LightningCLI would silently put the checkpoint's settings over it."""

    @staticmethod
    def configure_optimizers(
        lightning_module: L.LightningModule, optimizer: Optimizer, lr_scheduler: Any = None
    ) -> OptimizerLRScheduler:
        """An injected optimizer without an injected scheduler gets the paper's cosine annealing."""
        if lr_scheduler is None:
            return scheduled(lightning_module, optimizer)
        return LightningCLI.configure_optimizers(lightning_module, optimizer, lr_scheduler)


def expand_aliases(arguments: list[str]) -> list[str]:
    """Replace the short options (``--baseline X``, ``--checkpoint X``) by the keys they stand for."""
    expanded = []
    for argument in arguments:
        name, separator, value = argument.partition("=")
        expanded.append(ALIASES.get(name, name) + separator + value)
    return expanded


def run(arguments: ArgsType = None) -> TrainingCLI:
    """Parse, build, and run one training command (default: that of the command line); returns the CLI object."""
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    torch.set_float32_matmul_precision("high")
    silence_advertisement()
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    return TrainingCLI(
        L.LightningModule,
        L.LightningDataModule,
        subclass_mode_model=True,
        parser_class=OneLineParser,
        subclass_mode_data=True,
        save_config_callback=SaveConfig,
        save_config_kwargs={"save_to_log_dir": False},
        seed_everything_default=0,
        args=arguments,
    )
