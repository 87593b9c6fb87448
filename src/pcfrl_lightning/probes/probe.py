"""The one base class of all probes: frozen features in, linear heads, metrics and results.json out."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from typing_extensions import Self

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.errors import UsageError
from pcfrl_lightning.networks.checkpoint import read_checkpoint
from pcfrl_lightning.probes.features.extract import Precision
from pcfrl_lightning.probes.features.loaders import FeatureBatch
from pcfrl_lightning.probes.features.plain import data_of, splits_of, use_loaders
from pcfrl_lightning.probes.features.source import Baseline, FeatureSource
from pcfrl_lightning.probes.features.store import CacheType, feature_moments
from pcfrl_lightning.probes.heads import FeatureHeads, InputNorm, heads_like
from pcfrl_lightning.probes.metrics import NamedMetric
from pcfrl_lightning.probes.plan import Part, Plan, Protocol, Rules
from pcfrl_lightning.probes.results import Metrics, describe_run, print_report, write_results
from pcfrl_lightning.probes.tasks.base import Task
from pcfrl_lightning.probes.trained_on import check_training, describe_training, forget_test, load_probe
from pcfrl_lightning.run_directory import run_directory
from pcfrl_lightning.schedule import scheduled

Rate = float | list[float]


class Probe(L.LightningModule):
    """One linear layer on frozen features of ``trainer.datamodule`` (method section 9).

    Features are extracted once, in one pass for all that are asked for, and then read from a cache.  The default
    protocol fits on the training split, chooses the learning rate (and labels a best epoch) on validation data, and
    reports the last epoch on the test split; no test label is read before `test`.  ``protocol: paper`` does what the
    public code does: test metrics in every epoch, the best test epoch beside the last one, and no shuffling where the
    public code had none; results say so.  A subclass sets `task`.

    Args:
        checkpoint: the encoder, whatever `load_encoder` takes: a file of ``fit`` or ``import-pcl``, an exported folder
            or .safetensors, ``timm:NAME``, ``torchvision:NAME``.  With ``baseline: random`` it gives the architecture.
        baseline: ``random`` (the untrained network), ``lbp``, ``hog`` or ``pixels`` instead of a pretrained one.
        feature: one or several features of the encoder, each with heads of its own; ``concat``: all side by side.
        image_size: size the images are brought to, pixels.
        lr: learning rate, or several: all are trained in one pass over the features, and validation data chooses.
        input_norm: ``none``, ``standardize`` (with training statistics) or ``batchnorm``; default: what the protocol of
            the task has for networks, ``standardize`` for LBP, HoG and pixels.
        protocol: ``default`` or ``paper``.
        batch_size: samples per step.
        weight_decay: of AdamW; 0 makes it Adam.
        val_fraction: where the data set has no validation split, the share of the training subjects (or samples) on
            which learning rate and best epoch are chosen, by companion heads trained without it; the reported heads
            are trained on everything. 0: no choice, only the last epoch. ``protocol: paper`` does not use it.
        metric: name of a metric of torchmetrics that is reported as well, and chooses.
        weights: file of the weights of ``timm:NAME`` or ``torchvision:NAME``; default: the library's download.
        trust: packages, besides this one, whose classes a checkpoint may name.
        precision: of the extraction: ``float32``, ``tf32``, ``bf16``, or ``auto``: bf16 where the GPU or CPU has it,
            else float32.
        cache_dir: folder of the cached features.
        cache_dtype: ``float16`` halves the size; exact for features computed in bf16.
        memory_gb: features up to this size are held in memory; larger ones are streamed from disk.
        seed: of the initial head, the order of the samples and the untrained network; default 0, in the command line
            that of `seed_everything`.
    """

    task: Task
    comes_from: str | None = None  # checkpoint to be loaded: a wrong one is refused before files are touched
    plan: Plan  # known from `prepare_data` on
    heads: dict[str, FeatureHeads]  # by feature; none before `setup` and where nothing is trained
    epochs_done: Tensor

    def __init__(
        self,
        checkpoint: str | None = None,
        baseline: Baseline | None = None,
        feature: list[str] | str = "f_s",
        image_size: int = 100,
        lr: Rate = 1e-2,
        input_norm: InputNorm | None = None,
        protocol: Protocol = "default",
        batch_size: int = 256,
        weight_decay: float = 0.0,
        val_fraction: float = 0.1,
        metric: str | None = None,
        weights: str | None = None,
        trust: Sequence[str] = (),
        precision: Precision = "auto",
        cache_dir: str = "runs/features",
        cache_dtype: CacheType = "float32",
        memory_gb: float = 6.0,
        seed: int | None = None,
    ) -> None:
        super().__init__()
        seed = seed or 0
        features = [feature] if isinstance(feature, str) else list(feature)
        encoder = checkpoint, baseline, features, image_size, weights, tuple(trust)
        self.source = FeatureSource(*encoder, precision, cache_dir, cache_dtype, memory_gb, seed)
        rates = [float(rate) for rate in ([lr] if isinstance(lr, (int, float)) else lr)]
        self.rules = Rules(protocol, val_fraction, seed, rates, input_norm, batch_size, weight_decay)
        self.save_hyperparameters(ignore=["task"])
        self.metric = None if metric is None else NamedMetric(metric)
        self.heads = nn.ModuleDict()  # type: ignore[assignment]
        self.register_buffer("epochs_done", torch.zeros((), dtype=torch.long))
        self.results: dict[str, Any] = {}
        self.fit_seconds = self._started = 0.0
        self._trained_on: dict[str, Any] = {}
        self._losses: dict[str, Tensor] = {}
        self._collected: dict[tuple[str, str], list[Tensor]] = {}

    @property
    def input_norm(self) -> InputNorm:
        """What precedes the linear layer."""
        return self.rules.input_norm or ("standardize" if self.source.hand_made else self.task.input_norm)

    @property
    def has_head(self) -> bool:
        """Whether there is something to fit."""
        return self.task.trained

    @property
    def stage(self) -> str:
        """``fit``, ``validate`` or ``test``; `trainer.validating` is true in a fit as well."""
        return str(self.trainer.state.fn.value) if self.trainer.state.fn else "fit"

    def choose_task(self, splits: dict[str, FaceSet]) -> Task:
        """Hook: the task where it follows from the data."""
        return self.task

    def evaluate(self, outputs: Tensor, part: Part) -> Metrics:
        """Hook: metrics of outputs (K, n, ...) on the test samples."""
        return self.task.evaluate(outputs, part)

    def prepare_data(self) -> None:
        """Extract or read the features.  What goes wrong does so here, before loggers touch an earlier run's files."""
        data = data_of(self.trainer)
        splits = splits_of(data, getattr(self, "label", ""))
        self.task = self.choose_task(splits)
        if self.metric is not None:
            self.task.use(self.metric)
        self.plan = plan = self.task.plan(splits, self.stage, self.rules)
        plan.check(self.task.name, self.stage, len(self.rules.rates))
        progress = self.trainer.progress_bar_callback is not None
        for part in plan.parts(self.stage).values():
            device = self.trainer.strategy.root_device
            self.source.read(part.faces, device, getattr(data, "num_workers", 0), progress)
        self._trained_on = describe_training(data, plan, self.task)  # once: it reads the names of all images
        if self.comes_from:
            check_training(read_checkpoint(self.comes_from), self._trained_on)

    def setup(self, stage: str) -> None:
        """Hand loaders of the stage's features to the data module; build the heads and prepare their inputs."""
        data = data_of(self.trainer)
        shuffle = self.rules.protocol == "default" or self.task.paper_shuffles  # only the order of training
        options: dict[str, Any] = {"train": {"batch_size": self.rules.batch_size, "shuffle": shuffle}}
        parts = self.plan.parts(self.stage)
        use_loaders(data, {name: self.source.loader(part, **options.get(name, {})) for name, part in parts.items()})
        train = self.plan.train
        if train is None:
            return
        if not self.heads:
            outputs = self.task.outputs(train.faces)
            sizes = len(self.rules.rates), len(train.members), self.plan.folds
            for name, columns in self.source.columns.items():
                dim = columns.stop - columns.start
                self.heads[name] = FeatureHeads(dim, outputs, *sizes, self.input_norm, self.rules.seed)
        if self.stage == "fit":
            if scale := self.task.prepare(train):
                for heads in self.heads.values():
                    heads.head.set_output_scale(*scale)
            if self.input_norm == "standardize":
                mean, variance = feature_moments(self.source.table(train.faces), train.used_rows())
                for name, columns in self.source.columns.items():
                    self.heads[name].head.set_statistics(mean[:, columns], variance[:, columns])

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with a group per feature and learning rate, cosine over the epochs of the trainer."""
        rates = list(enumerate(self.rules.rates))
        groups = [{"params": each.head.candidate(i), "lr": rate} for each in self.heads.values() for i, rate in rates]
        return scheduled(self, torch.optim.AdamW(groups, weight_decay=self.rules.weight_decay, fused=True))

    def on_fit_start(self) -> None:
        """Start the clock; what the run folder says about an earlier head goes."""
        forget_test(self.trainer)
        self._started = time.perf_counter()

    def on_fit_end(self) -> None:
        self.fit_seconds += time.perf_counter() - self._started

    def on_train_epoch_start(self) -> None:
        """Tell the loader the epoch, so that a resumed run sees the order of an uninterrupted one."""
        loader: Any = self.trainer.train_dataloader
        loader.set_epoch(self.current_epoch)
        self._losses = {name: torch.zeros(len(self.rules.rates), device=self.device) for name in self.heads}

    def training_step(self, batch: FeatureBatch, batch_idx: int) -> Tensor:
        """Sum over features and heads of the mean loss over the samples that each may train on."""
        views = len(batch.features) // batch.members.shape[1]  # 2 for pairs
        rows = batch.members.repeat_interleave(views, dim=1)
        weights = batch.members / batch.members.sum(1, keepdim=True).clamp_min(1)
        losses = []
        for name, features in self.source.split(batch.features).items():
            outputs = self.heads[name].head(features, rows)
            losses.append((self.task.loss(outputs, batch.targets) * weights).sum((1, 2)))  # (R, H, B) -> (R,)
            self._losses[name] += losses[-1].detach()
        return torch.cat(losses).sum()

    def on_train_epoch_end(self) -> None:
        """Log the mean loss of the epoch (the lowest of the learning rates, mean over folds)."""
        self.epochs_done += 1
        for name, heads in self.heads.items():
            losses = self._losses[name] / (self.trainer.num_training_batches * len(heads.head.biases[0]))
            if not losses.isfinite().any():
                now = self.rules.rates
                raise UsageError(f"training diverged in epoch {self.current_epoch}: lower model.lr (now {now})")
            loss = losses.nan_to_num(nan=math.inf).min()
            self.log(f"train/{self._key(name)}loss", loss, prog_bar=True, batch_size=1)

    def on_validation_start(self) -> None:
        if self.stage == "validate":
            self.on_test_start()

    def validation_step(self, batch: FeatureBatch, batch_idx: int) -> None:
        for name, features in self.source.split(batch.features).items():
            self._collect(name, "all", self.heads[name].head(features))

    def on_validation_epoch_end(self) -> None:
        """Score every head, or its companion, on its own samples; remember the best epoch of each fold."""
        collected, self._collected = self._collected, {}
        if self.trainer.sanity_checking:
            return
        assert self.plan.choice is not None
        sign = 1.0 if self.task.higher_is_better else -1.0
        for name, heads in self.heads.items():
            # the companions stand behind the heads
            outputs = torch.cat(collected[name, "all"], dim=2)[:, -self.plan.folds :].cpu()
            scores = sign * self.task.choice_scores(outputs, self.plan.choice)
            top = scores.max(0).values if self.stage == "validate" else heads.judge(scores, self.current_epoch + 1)
            key = f"val/{self._key(name)}{self.task.monitor}"
            self.log(key, sign * float(top.mean()), prog_bar=True, batch_size=1)

    def on_test_start(self) -> None:
        """Refuse to report a head that was never trained."""
        if self.task.trained and not int(self.epochs_done):
            raise UsageError("the head is not trained: run `pcfrl fit` first and give its checkpoint as --ckpt_path")

    def test_step(self, batch: FeatureBatch, batch_idx: int) -> None:
        for name, features in self.source.split(batch.features).items():
            found = self.heads[name].reported(features) if name in self.heads else {"last": features.unsqueeze(0)}
            for epoch, outputs in found.items():
                self._collect(name, epoch, outputs)

    def on_test_epoch_end(self) -> None:
        """Compute and log the metrics: ``test/...`` of the last epoch, ``test_best/...`` of the best one."""
        assert self.plan.test is not None
        collected, self._collected = self._collected, {}
        found: dict[str, dict[str, Metrics]] = {}
        for (name, epoch), outputs in collected.items():
            metrics = self.evaluate(torch.cat(outputs, dim=1).cpu(), self.plan.test)
            found.setdefault(name, {})[epoch] = metrics
            prefix = f"{'test' if epoch == 'last' else 'test_best'}/{self._key(name)}"
            scalars = {f"{prefix}{key}": value for key, value in metrics.items() if isinstance(value, float)}
            self.log_dict(scalars, batch_size=1)
        self.results = describe_run(self, data_of(self.trainer), self.plan, found)

    def on_test_end(self) -> None:
        """Write results.json into the run directory and print the table."""
        path = write_results(run_directory(self.trainer) / "results.json", self.results)
        print_report(self.results, path)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the seconds spent so far, for the results of a later `test`, and what the head is trained on."""
        checkpoint["trained_on"] = self._trained_on
        running = time.perf_counter() - self._started if self.trainer.state.fn == "fit" else 0.0
        checkpoint["fit_seconds"] = self.fit_seconds + running

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a head of other data; build heads of the stored shape when there are no data."""
        check_training(checkpoint, self._trained_on)
        self.fit_seconds = float(checkpoint.get("fit_seconds", 0.0))
        if not self.heads:
            self.heads.update(heads_like(checkpoint["state_dict"], "heads."))

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, map_location: Any = None, trust: Sequence[str] = (), **overrides: Any
    ) -> Self:
        """A probe with its heads, on the device ``map_location`` (default: the CPU).

        ``overrides`` replace arguments in the file, which says neither what is called nor which packages are trusted.

        Raises:
            FileNotFoundError: there is no file.
            DataError: it is damaged, or is not one of such a probe.
        """
        return load_probe(cls, checkpoint_path, map_location, {"trust": trust, **overrides})

    def _key(self, feature: str) -> str:
        """Part of a logged name: nothing where there is only one feature."""
        return "" if len(self.source.columns) == 1 else f"{feature}/"

    def _collect(self, name: str, epoch: str, outputs: Tensor) -> None:
        """Metrics are computed on the outputs of all samples at once, which are copied from the device once."""
        self._collected.setdefault((name, epoch), []).append(self.task.reduce(outputs))
