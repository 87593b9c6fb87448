"""``pcfrl fit|validate|test``: LightningCLI with this project's defaults."""

import os
import re
import shlex
import sys
import warnings
from typing import Any

import lightning as L
import torch
from docstring_parser import DocstringStyle
from jsonargparse import Namespace, set_parsing_settings
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, instantiate_class
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.model_helpers import is_overridden
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch.optim import Optimizer

from pcfrl_lightning.callbacks.progress_lines import lines_in_a_log
from pcfrl_lightning.callbacks.time_estimate import TimeEstimate
from pcfrl_lightning.cli.configs import with_config_paths
from pcfrl_lightning.cli.messages import OneLineParser, silence_advertisement, summary
from pcfrl_lightning.cli.resume import begin_with, check_checkpoint, checkpoint_file, loading_failed
from pcfrl_lightning.cli.run_files import SaveConfig, WholeCheckpoints, separate_logs
from pcfrl_lightning.cli.stopping import StopAndSave, last_checkpoint, resuming
from pcfrl_lightning.distributed import cores
from pcfrl_lightning.errors import Stopped, UsageError, one_line
from pcfrl_lightning.run_directory import claimed, newest_checkpoint, run_directory
from pcfrl_lightning.schedule import refuse_another, scheduled

# Warnings of Lightning about intended things: the optimizer comes from the yaml, pretraining has no
# validation step, small data sets have few batches, arguments may come from Python.
EXPECTED_WARNINGS = (
    ".*configure_optimizers` will be overridden by.*",
    ".*have no `validation_step`.*",
    ".*number of training batches .* is smaller than the logging interval.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*",
    ".*The dirpath has changed from .*",  # of a resumed run: it has a folder of its own
    ".*LightningCLI's args parameter is intended to run from within Python.*",
)
ALIASES = {"--baseline": "--model.baseline", "--checkpoint": "--model.checkpoint"}
STEPS = {"validate": "validation_step", "test": "test_step"}
INIT_FROM = "init_from"


class TrainingCLI(LightningCLI):
    """LightningCLI: any LightningModule and LightningDataModule by class path."""

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Without ``predict``: `pcfrl embed` writes features."""
        return {name: skipped for name, skipped in LightningCLI.subcommands().items() if name != "predict"}

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The weights that a new run begins with."""
        parser.add_argument(
            f"--{INIT_FROM}",
            type=str | None,
            help="checkpoint or exported folder whose encoder a new run of `fit` begins with; its schedule starts anew",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        self.arguments = args if isinstance(args, list) else sys.argv[1:]
        if not isinstance(args, (dict, Namespace)):
            args = with_config_paths(expand_aliases(self.arguments))
        super().parse_arguments(parser, args)

    def instantiate_classes(self) -> None:
        """Build everything; a value that a class refuses ends in one line, before any data is read."""
        data, model = (self._get(self.config, section, Namespace()) for section in ("data", "model"))
        size, here = (part.get("init_args", Namespace()).get("image_size") for part in (model, data))
        if None not in (size, here) and size != here:
            raise UsageError(f"data.image_size is {here}, but the model takes {size} pixels: set model.image_size")
        seed = self._get(self.config, "seed_everything")
        # by hand, because `link_arguments` would silently replace a value that was given. The saved configuration keeps
        # the source alone, so that a later change of it takes effect.
        set_here = []
        for part, key, value in ((data, "image_size", size), (model, "seed", None if isinstance(seed, bool) else seed)):
            arguments = part.get("init_args", Namespace())
            if value is not None and key in arguments and arguments[key] in (None, size if part is data else None):
                arguments[key] = value
                set_here.append((arguments, key))
        try:
            super().instantiate_classes()
        except UsageError:
            raise
        except (ValueError, TypeError) as error:
            key, reason = refusing_key(self.config[str(self.subcommand)]), summary(str(error))
            raise UsageError(reason if reason.startswith(f"{key}.") or not key else f"{key}: {reason}") from error
        for arguments, key in set_here:
            arguments.pop(key)
        self._check_stage()

    def _check_stage(self) -> None:
        """Refuse a stage that the model has no step for, and a checkpoint that it cannot go on from."""
        stage = str(self.subcommand)
        if stage in STEPS and not is_overridden(STEPS[stage], self.model):
            raise UsageError(
                f"{type(self.model).__name__} has nothing to {stage}: probes of its features are measured by `pcfrl "
                f"evaluate CHECKPOINT --data-root ROOT`, or by `pcfrl fit` and `pcfrl {stage}` with a config of "
                "configs/probe"
            )
        given, source = self._get(self.config_init, "ckpt_path"), self._get(self.config_init, INIT_FROM)
        if source and stage == "fit" and not given:
            begin_with(self.model, source)
        elif source and stage == "fit" and any(word.split("=")[0] == f"--{INIT_FROM}" for word in self.arguments):
            # in the saved configuration of a run it is only what that run began with
            raise UsageError("--ckpt_path goes on with a run, --init_from begins one: give one of them")
        if given:
            path = str(checkpoint_file(str(given), self.trainer))
            own = self._get(self.config, "lr_scheduler")
            end = ("lr_scheduler.T_max", (own.get("init_args") or {}).get("T_max")) if own else None
            end = end or ("trainer.max_epochs", self.trainer.max_epochs)
            check_checkpoint(path, dict(self.model.hparams), end if stage == "fit" else None, self.trainer.max_epochs)
            self.config_init[stage]["ckpt_path"] = path
            if hasattr(self.model, "comes_from"):
                self.model.comes_from = path

    def instantiate_trainer(self, **kwargs: Any) -> L.Trainer:
        """Checkpoints that are whole, an end that can be asked for, a progress bar without the number of the run."""
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except MisconfigurationException as error:
            raise UsageError(f"trainer: {one_line(error)}") from error
        check_processes(trainer)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = WholeCheckpoints()
        trainer.callbacks += [StopAndSave(), TimeEstimate()]  # type: ignore[attr-defined]
        lines_in_a_log(trainer)
        if bar := trainer.progress_bar_callback:
            shown = bar.get_metrics
            bar.get_metrics = lambda *args: {k: v for k, v in shown(*args).items() if k != "v_num"}  # type: ignore[method-assign]
        return trainer

    def _add_configure_optimizers_method_to_model(self, subcommand: str | None) -> None:
        try:
            super()._add_configure_optimizers_method_to_model(subcommand)
        except (ValueError, TypeError) as error:
            head = not any(True for _ in self.model.parameters())  # it comes with the data
            own = f"; {type(self.model).__name__} has one of its own, whose rate is model.lr" if head else ""
            raise UsageError(f"optimizer: {error}{own}") from error

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        found = super()._prepare_subcommand_kwargs(subcommand)
        # whatever a configuration says; before Lightning 2.6 the file has been read so by `check_checkpoint` alone
        return found | ({"weights_only": True} if "weights_only" in found else {})

    def _run_subcommand(self, subcommand: str) -> None:
        try:
            with claimed(self.trainer):
                super()._run_subcommand(subcommand)
        except Stopped as stop:
            path = last_checkpoint(self.trainer)
            if subcommand == "fit" and stop.text and path and path.is_file():
                stop.text += f"; go on with: {shlex.join(['pcfrl', *resuming(self.arguments, path)])}"
            raise
        except Exception as error:
            if found := re.search(r"DataLoader worker \(pid.*?\) (.*)", str(error)):
                raise UsageError(
                    f"a process that loads data {found[1].strip().rstrip('.')}: usually memory ran out; lower "
                    "data.num_workers, or data.batch_size, and go on with the last checkpoint (--ckpt_path)"
                ) from error
            if re.search("Connection (closed|reset) by peer|remote process exited", str(error)):
                raise UsageError(
                    "another process of this run has ended, see its message or its log; go on with the last checkpoint "
                    "(--ckpt_path)"
                ) from error
            path = self.config_init[subcommand].get("ckpt_path")
            if path and not isinstance(error, (UsageError, OSError)) and loading_failed(error):
                reason = f"{type(error).__name__}: {one_line(error)}"
                raise UsageError(f"checkpoint {path} does not fit this run: {reason}") from error
            raise

    def before_fit(self) -> None:
        """Say how large the model is: Lightning's table is there for ``--trainer.enable_model_summary true``."""
        count = sum(parameter.numel() for parameter in self.model.parameters() if parameter.requires_grad)
        if count and self.trainer.is_global_zero:  # the head of a probe comes with its data
            print(f"{type(self.model).__name__}: {count / 1e6:.1f} M parameters")

    def after_fit(self) -> None:
        """Name the checkpoint, the folder and the next command."""
        if not self.trainer.is_global_zero or self.trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        written, folder = newest_checkpoint(self.trainer), os.path.relpath(run_directory(self.trainer))
        last = os.path.relpath(written) if written else ""
        if last:
            print(f"checkpoint: {last}")
        print(f"log:        {folder}")
        if last and is_overridden("test_step", self.model):
            print(f"next:       pcfrl test --config {os.path.join(folder, 'config.yaml')} --ckpt_path {last}")
        elif last:
            print(f"next:       pcfrl evaluate {last} --data-root DATA")
            print(f"            pcfrl embed {last} FACES --out faces.npz")

    def before_validate(self) -> None:
        separate_logs(self.trainer, "validate")

    def before_test(self) -> None:
        separate_logs(self.trainer, "test")

    def _parse_ckpt_path(self) -> None:
        """The command line says what runs: LightningCLI would silently put the checkpoint's settings over it."""

    @staticmethod
    def configure_optimizers(
        lightning_module: L.LightningModule, optimizer: Optimizer, lr_scheduler: Any = None
    ) -> OptimizerLRScheduler:
        """An injected optimizer without an injected scheduler gets the paper's cosine annealing."""
        if lr_scheduler is None:
            found = scheduled(lightning_module, optimizer)
        else:
            found = LightningCLI.configure_optimizers(lightning_module, optimizer, lr_scheduler)
        refuse_another(optimizer)
        return found


def check_processes(trainer: L.Trainer) -> None:
    """Refuse more processes than CPU cores; Lightning itself looks at GPUs alone, and would start them and wait."""
    most = cores()
    if trainer.strategy.root_device.type == "cpu" and trainer.num_devices > most:
        raise UsageError(f"trainer.devices: {trainer.num_devices} processes on {most} CPU cores; give at most {most}")


def refusing_key(config: Namespace) -> str:
    """Dotted key, as on the command line, of the innermost object that cannot be built; empty if all can.

    Two heads have a ``temperature`` each: the message of the class alone would not say which one is wrong.
    """

    def build(value: Any) -> Any:
        if isinstance(value, dict) and "class_path" in value:
            inner = {name: build(argument) for name, argument in (value.get("init_args") or {}).items()}
            return instantiate_class((), {"class_path": value["class_path"], "init_args": inner})
        return value

    specs = [item for item in config.items(branches=True) if isinstance(item[1], Namespace) and "class_path" in item[1]]
    for key, spec in sorted(specs, key=lambda item: -item[0].count(".")):
        if key.startswith(("model", "data")):
            try:
                build(spec.as_dict())
            except (ValueError, TypeError):
                return key.replace(".init_args", "")
    return ""


def expand_aliases(arguments: list[str]) -> list[str]:
    """Replace the short options (``--baseline X``, ``--checkpoint X``) by the keys they stand for."""
    parts = [argument.partition("=") for argument in arguments]
    return [ALIASES.get(name, name) + equals + value for name, equals, value in parts]


def run(arguments: ArgsType = None) -> TrainingCLI:
    """Parse, build, and run one training command (default: that of the command line); returns the CLI object."""
    # known by their short names, such as `--data FaceFolder`
    import pcfrl_lightning.callbacks
    import pcfrl_lightning.data.folders.unlabelled
    import pcfrl_lightning.data.folders.voxceleb
    import pcfrl_lightning.data.views.auto
    import pcfrl_lightning.methods
    import pcfrl_lightning.probes
    import pcfrl_lightning.synthetic.module  # noqa: F401

    torch.set_float32_matmul_precision("high")
    set_parsing_settings(docstring_parse_style=DocstringStyle.GOOGLE)  # else every docstring is tried in four styles
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
        trainer_defaults={"enable_model_summary": False},
        seed_everything_default=0,
        args=arguments,
    )
