"""What all self-supervised methods have in common."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import lightning as L
import numpy as np
import torch
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_warn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from typing_extensions import Self

from pcfrl_lightning import __version__
from pcfrl_lightning.compilation import compile_training
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.heads import Calibrator, DelayedStart
from pcfrl_lightning.methods.means import EpochMeans
from pcfrl_lightning.methods.step_log import StepLog
from pcfrl_lightning.networks.checkpoint import read_checkpoint
from pcfrl_lightning.networks.encoder import Encoder
from pcfrl_lightning.networks.rebuild import PREFIX, build, describe, rebuild
from pcfrl_lightning.networks.sync_batch_norm import sync_batch_norm
from pcfrl_lightning.schedule import fuse, scheduled


def channels_last(images: Tensor) -> Tensor:
    """The images in the memory format of the network."""
    return images.contiguous(memory_format=torch.channels_last)


PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
CHECKPOINT_FORMAT = 1
"""Of the state of a run in a checkpoint; raised when an older version could no longer go on with it."""
_BROKEN = "broken"  # share of steps whose loss was not finite


class Method(L.LightningModule, ABC):
    """A self-supervised method: a subclass builds ``network``, implements ``losses``, and ends its ``__init__``
    with ``keep_arguments``.

    The rest is here: Adam with a cosine schedule, batch statistics over ranks, memory format, compilation, the end of a
    diverged run, logging, and checkpoints from which ``load_from_checkpoint`` rebuilds the method.

    - The random numbers of a step are a function of (seed, epoch, batch, rank): ranks draw different ones, and a run
      that is resumed inside an epoch draws those of the uninterrupted run.
    - Calibrators know the epoch in every step, also after such a resume.
    - Statistics of a step are logged every ``log_every_n_steps`` steps as ``train/NAME_step``, their means over the
      epoch and over ranks as ``train/NAME_epoch``. No step waits for the device (``methods/step_log.py``).

    Attributes:
        network: the encoder and what the method puts on top of it.
        views: names of the views that a batch must hold, each float (N, 3, S, S) in [0, 1].
        calibrators: names of the contrasts in the statistics, and the key of the calibrator of each.
        optimizer: makes the optimiser from the parameters; default Adam, lr 1e-4, betas (0.9, 0.999) (paper 4.1). Set
            it before `fit` for another one: ``model.optimizer = partial(torch.optim.AdamW, lr=1e-3)``. That of a config
            replaces it.
        optimizer_steps: steps of the optimiser for each batch.
    """

    network: Encoder
    views: ClassVar[tuple[str, ...]] = ()
    calibrators: ClassVar[dict[str, str]] = {}
    optimizer_steps: ClassVar[int] = 1

    def __init__(self, compile_network: bool | None = None) -> None:
        super().__init__()
        self.compile_network = compile_network
        self.optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer] = partial(torch.optim.Adam, lr=1e-4)
        self.step_means = EpochMeans()
        self._names: list[str] = []
        self._step_log = StepLog()
        self._seed = torch.initial_seed()
        self._warned = False

    @abstractmethod
    def losses(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch of views, and statistics for the log: detached scalars on the device."""

    def step(self, batch: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """:meth:`losses` of a batch of training, whose gradient the trainer follows; a method with
        ``automatic_optimization`` False takes its steps here."""
        return self.losses(batch)

    def keep_arguments(self, *parts: nn.Module) -> None:
        """Keep the arguments of ``__init__`` as primitives, which a checkpoint can hold.

        Args:
            *parts: modules that keep some of the arguments in attributes of their names; the method keeps the others.

        Raises:
            TypeError: an argument, or one of an injected object, is not kept.
        """
        arguments = {}
        for name in inspect.signature(type(self)).parameters:
            holder = next((part for part in (self, *parts) if hasattr(part, name)), None)
            if holder is None:
                raise TypeError(f"{type(self).__name__} does not keep its argument '{name}', so no checkpoint could")
            arguments[name] = describe(getattr(holder, name))
        self.save_hyperparameters(arguments)

    def compiled_parts(self) -> list[nn.Module]:
        """What ``compile_network`` compiles: modules that the method calls, as they are called."""
        return [self.network]

    def end_epoch(self, means: dict[str, Tensor]) -> None:
        """Called on all ranks when an epoch ends, with the global means of the statistics."""

    def configure_callbacks(self) -> list[L.Callback]:
        """No callbacks; the first hook of a run, so a precision that cannot work is refused before data is read."""
        if self.trainer.training and self.trainer.precision not in PRECISIONS:
            raise UsageError(
                f"trainer.precision {self.trainer.precision} would keep weights and losses in that type; "
                f"use one of {', '.join(PRECISIONS)}"
            )
        return []

    def setup(self, stage: str) -> None:
        """Share batch statistics over ranks, choose the memory format, compile where it is asked for or pays."""
        device = self.trainer.strategy.root_device.type
        if self.trainer.world_size > 1:
            sync_batch_norm(self, device)
        self.to(memory_format=torch.channels_last)
        if stage == "fit" and (device == "cuda" if self.compile_network is None else self.compile_network):
            rank_zero_info("torch.compile in the first step, which takes longer (off: --model.compile_network false)")
            for part in self.compiled_parts():
                compile_training(part)

    def on_fit_start(self) -> None:
        """On a GPU, the fused form of the optimiser; a warning where no pair will ever be calibrated."""
        if self.device.type == "cuda":
            for optimizer in self.trainer.optimizers:
                fuse(optimizer)
        starts = [module.start_epoch for module in self.modules() if isinstance(module, DelayedStart)]
        epochs = self.trainer.max_epochs or 0
        if starts and 0 < epochs <= min(starts):
            rank_zero_warn(
                f"calibration starts after {min(starts)} epochs, and this run ends after {epochs}: no pair is "
                "calibrated (start_epoch of DelayedStart, or trainer.max_epochs)"
            )

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        """Loss of one batch; UsageError if it lacks a view."""
        missing = [name for name in self.views if name not in batch]
        if missing:
            raise UsageError(
                f"{type(self).__name__} trains on views, and the batch has no {', '.join(missing)}: give the data "
                "module views, such as AlbumentationsViews (data.views)"
            )
        self._begin_step(batch_idx)
        done = self.global_step // self.optimizer_steps
        loss, stats = self.step(batch)
        stats = {"loss": loss.detach(), **stats}
        self._names = [*stats, _BROKEN]
        self.step_means.update(torch.stack([*stats.values(), ~stats["loss"].isfinite()]))
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        if every and (done + 1) % every == 0 and not self.trainer.fit_loop._should_accumulate():
            self._step_log.put(self.trainer, stats)
        return loss

    def _begin_step(self, batch_idx: int) -> None:
        for module in self.modules():
            if isinstance(module, Calibrator):
                module.begin_epoch(self.current_epoch)
        entropy = [self._seed, self.current_epoch, batch_idx, self.global_rank]
        torch.manual_seed(int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0]))

    def on_train_epoch_end(self) -> None:
        """Log the means of the epoch.

        Raises:
            UsageError: a loss of the epoch was not finite. The checkpoint of the epoch before is kept.
        """
        self._step_log.flush(self.trainer)
        means = dict(zip(self._names, self.step_means.compute(), strict=True))
        self.step_means.reset()
        if share := means.pop(_BROKEN).item():
            raise UsageError(
                f"the loss was not finite in {share:.3%} of the steps of epoch {self.current_epoch}: lower "
                "optimizer.lr, or set trainer.gradient_clip_val; the checkpoint of the epoch before is untouched"
            )
        self.log_dict({f"train/{name}_epoch": value for name, value in means.items()}, sync_dist=True)
        self.end_epoch(means)
        self._warn_of_many_pairs(means)

    def _warn_of_many_pairs(self, means: Mapping[str, Tensor]) -> None:
        """Warn once if a threshold let through more than half of the anchors of an epoch."""
        for name, key in self.calibrators.items():
            share = means[f"{name}/calibrated_share"].item()
            if share > 0.5 and means[f"{name}/threshold"].isfinite() and not self._warned:
                self._warned = True
                rank_zero_warn(
                    f"{share:.0%} of the {name} anchors were calibrated in epoch {self.current_epoch}: calibrated "
                    f"pairs should be few; wrap {key} in DelayedStart, or raise its threshold (docs/calibration.md)"
                )

    def predict_step(self, batch: dict[str, Tensor], batch_idx: int) -> dict[str, Tensor]:
        """Features of plain images ``{"image": uint8 (N, 3, S, S), "index": (N,)}``, on the CPU in float32."""
        features = self.network.features(batch["image"])
        return {"index": batch["index"].cpu()} | {name: value.cpu() for name, value in features.items()}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """What `optimizer` makes, with cosine annealing over the run (paper 4.1); a yaml may inject others."""
        return scheduled(self, self.optimizer(self.parameters()))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what describes the encoder, the seed and the sums of the epoch so far; called on all ranks."""
        checkpoint["encoder"] = self.network.config
        sums = {name: means.global_sums() for name, means in self._means()}
        checkpoint["method"] = {"seed": self._seed, "names": self._names, "sums": sums}
        checkpoint["method"] |= {"format": CHECKPOINT_FORMAT, "version": __version__}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the seed and the sums of the interrupted run."""
        state = checkpoint.get("method", {})
        self._seed, self._names = state.get("seed", self._seed), state.get("names", [])
        for name, means in self._means():
            if name in state.get("sums", {}):
                means.restore(state["sums"][name], holder=self.global_rank == 0)

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, map_location: Any = None, trust: str | Iterable[str] = (), **overrides: Any
    ) -> Self:
        """The method of a checkpoint of ``pcfrl fit`` or ``pcfrl import-pcl``.

        Nothing that the file names is called, except the project's own classes and those of packages in ``trust``.

        Args:
            checkpoint_path: the file.
            map_location: device to put the method on; default: the CPU.
            trust: packages whose classes may be built (``["my_package"]``).
            **overrides: arguments of ``__init__`` that replace those in the file.

        Raises:
            FileNotFoundError: there is no file.
            DataError: it is damaged, or is not one of such a method.
        """
        checkpoint = read_checkpoint(checkpoint_path)
        # Lightning's own way calls whatever the file names as `_instantiator`
        settings = {key: value for key, value in checkpoint["hyper_parameters"].items() if not key.startswith("_")}

        def make() -> Any:
            arguments = {key: build(value, trust) for key, value in settings.items() if key not in overrides}
            return cls(**arguments, **overrides)

        path, state = Path(checkpoint_path), checkpoint["state_dict"]
        return rebuild(make, state, path, trusted=bool(trust), strict=PREFIX).to(map_location or "cpu")

    def _means(self) -> list[tuple[str, EpochMeans]]:
        return [(name, module) for name, module in self.named_modules() if isinstance(module, EpochMeans)]
