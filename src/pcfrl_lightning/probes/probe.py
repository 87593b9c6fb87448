"""The one base class of all probes: frozen features in, linear heads, metrics and results.json out."""

import math
import time
from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.errors import DataError, UsageError
from pcfrl_lightning.networks.checkpoint import read_checkpoint
from pcfrl_lightning.probes.features.extract import Baseline, Precision
from pcfrl_lightning.probes.features.loaders import FeatureBatch, FeatureBatches
from pcfrl_lightning.probes.features.plain import splits_of, use_loaders
from pcfrl_lightning.probes.features.source import FeatureSource, require
from pcfrl_lightning.probes.features.store import CacheType, feature_moments
from pcfrl_lightning.probes.heads import FeatureHeads, InputNorm
from pcfrl_lightning.probes.metrics import NamedMetric
from pcfrl_lightning.probes.plan import Part, Plan, Protocol, Rules
from pcfrl_lightning.probes.report import print_report
from pcfrl_lightning.probes.results import Metrics, describe_run, write_results
from pcfrl_lightning.probes.tasks.base import Task
from pcfrl_lightning.probes.trained_on import check_training, describe_training, forget_test
from pcfrl_lightning.run_directory import run_directory
from pcfrl_lightning.schedule import scheduled

EVALUATION_BATCH = 2048
Rate = float | list[float]


class Probe(L.LightningModule):
    """One linear layer on frozen features of ``trainer.datamodule`` (method section 9).

    Features are extracted once, in one pass for all that are asked for, and then read from a cache.  The default
    protocol fits on the training split, chooses the learning rate (and labels a best epoch) on validation data, and
    reports the last epoch on the test split; no test label is read before `test`.  ``protocol: paper`` does what the
    public code does: test metrics in every epoch, the best test epoch beside the last one, and no shuffling where the
    public code had none; results say so.

    A subclass sets `task`.

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
            which learning rate and best epoch are chosen. They are scored by companion heads trained without it; the
            reported heads are trained on everything. 0: no choice, only the last epoch.
            ``protocol: paper`` does not use it.
        metric: name of a metric of torchmetrics that is reported as well, and chooses.
        weights: file of the weights of ``timm:NAME`` or ``torchvision:NAME``; default: the library's download.
        trust: packages, besides this one, whose classes a checkpoint may name.
        precision: of the extraction: ``float32``, ``tf32``, ``bf16``, or ``auto``: bf16 on a GPU, float32 on a CPU.
        cache_dir: folder of the cached features.
        cache_dtype: ``float16`` halves the size; exact for features computed in bf16 (on a GPU).
        memory_gb: features up to this size are held in memory; larger ones are streamed from disk.
        seed: of the initial head, the order of the samples and the untrained network.

    Raises:
        ValueError: contradictory or unknown settings, a value out of range; names the keys.
    """

    task: Task
    comes_from: str | None = None  # checkpoint to be loaded: a wrong one is refused before files are touched
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
        seed: int = 0,
    ) -> None:
        super().__init__()
        features = [feature] if isinstance(feature, str) else list(feature)
        cache = {"cache_dir": cache_dir, "dtype": cache_dtype}
        self.source = FeatureSource(
            checkpoint, baseline, features, image_size, weights, tuple(trust), precision, cache, memory_gb, seed
        )
        self.rates = [float(rate) for rate in ([lr] if isinstance(lr, (int, float)) else lr)]
        rates_fine = bool(self.rates) and all(math.isfinite(rate) and rate > 0 for rate in self.rates)
        require("lr", lr, rates_fine, "one or several positive numbers")
        require("protocol", protocol, protocol in ("default", "paper"), "default or paper")
        if protocol == "paper" and len(self.rates) > 1:
            raise ValueError("model.lr: protocol paper has no validation data to choose with; give one learning rate")
        known = input_norm in (None, "none", "standardize", "batchnorm")
        require("input_norm", input_norm, known, "none, standardize or batchnorm")
        require("batch_size", batch_size, batch_size >= 1, "at least 1")
        require("val_fraction", val_fraction, 0 <= val_fraction < 1, "at least 0 and below 1")
        require("weight_decay", weight_decay, weight_decay >= 0, "0 or more")
        self.save_hyperparameters(ignore=["task"])
        self.batch_size, self.weight_decay, self.chosen_norm = batch_size, weight_decay, input_norm
        self.rules = Rules(protocol, val_fraction, seed)
        self.metric = None if metric is None else NamedMetric(metric)
        self.heads = nn.ModuleDict()
        self.register_buffer("epochs_done", torch.zeros((), dtype=torch.long))
        self.results: dict[str, Any] = {}
        self.fit_seconds = self._started = 0.0
        self._plan: Plan | None = None
        self._trained_on: dict[str, Any] = {}
        self._losses: dict[str, Tensor] = {}
        self._collected: dict[tuple[str, str], list[Tensor]] = {}

    @property
    def input_norm(self) -> InputNorm:
        """What precedes the linear layer."""
        return self.chosen_norm or ("standardize" if self.source.hand_made else self.task.input_norm)

    def choose_task(self, splits: dict[str, FaceSet]) -> Task:
        """Hook: the task where it follows from the data."""
        return self.task

    def evaluate(self, outputs: Tensor, part: Part) -> Metrics:
        """Hook: metrics of outputs (K, n, ...) on the test samples."""
        return self.task.evaluate(outputs, part)

    def prepare_data(self) -> None:
        """Extract or read the features.  What goes wrong does so here, before loggers touch an earlier run's files."""
        data = self._data()
        splits = splits_of(data, getattr(self, "label", ""))
        self.task = self.choose_task(splits)
        if self.metric is not None:
            self.task.use(self.metric)
        self._plan = self.task.plan(splits, "test" if self.trainer.testing else "fit", self.rules)
        if self._validates() and self._plan.choice is None:
            raise UsageError(f"{self.task.name}: there are no samples to validate on")
        if self._plan.train is not None and self._plan.choice is None and len(self.rates) > 1:
            name = self._plan.train.faces.name
            raise DataError(f"{name}: no samples to choose among several model.lr with; give one")
        progress = self.trainer.progress_bar_callback is not None
        for part in self._used().values():
            device = self.trainer.strategy.root_device
            self.source.read(part.faces, device, getattr(data, "num_workers", 0), progress)
        self._trained_on = describe_training(data, self._plan, self.task)  # once: it reads the names of all images
        if self.comes_from:
            check_training(read_checkpoint(self.comes_from), self._trained_on)

    def setup(self, stage: str) -> None:
        """Hand loaders of the stage's features to the data module; build the heads and prepare their inputs."""
        data, plan = self._data(), self._plan
        assert plan is not None
        use_loaders(data, {name: self._loader(name, part) for name, part in self._used().items()})
        if plan.train is None:
            return
        if not self.heads:
            outputs, sizes = self.task.outputs(plan.train.faces), (len(self.rates), len(plan.train.members), plan.folds)
            for name, columns in self.source.columns.items():
                dim = columns.stop - columns.start
                self.heads[name] = FeatureHeads(dim, outputs, *sizes, self.input_norm, self.rules.seed)
        if self.trainer.state.fn == "fit":
            self._set_statistics(plan.train, plan.folds)

    def protocol_facts(self) -> dict[str, Any]:
        """Protocol, choices and epochs for results.json."""
        if not self.task.trained:
            return {"protocol": "training-free"}
        assert self._plan is not None
        return {
            "protocol": self.rules.protocol,
            "epochs": int(self.epochs_done),
            "chosen_on": self._plan.choice_name or None,
            "chosen_by": self.task.monitor,
            "input_norm": self.input_norm,
            "val_fraction": self._plan.val_fraction,
            "batch_size": self.batch_size,
            "weight_decay": self.weight_decay,
            "fit_seconds": round(self.fit_seconds, 2),
            **self.task.facts(),
        }

    def feature_heads(self) -> dict[str, FeatureHeads]:
        """The heads by feature; none before `setup` and where nothing is trained."""
        return {name: heads for name, heads in self.heads.items() if isinstance(heads, FeatureHeads)}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with a group per feature and learning rate, cosine over the epochs of the trainer."""
        stacks = [heads.head for heads in self.feature_heads().values()]
        groups = [{"params": head.candidate(i), "lr": rate} for head in stacks for i, rate in enumerate(self.rates)]
        return scheduled(self, torch.optim.AdamW(groups, weight_decay=self.weight_decay, fused=True))

    def on_fit_start(self) -> None:
        """Start the clock; what the run folder says about an earlier head goes."""
        forget_test(self.trainer)
        self._started = time.perf_counter()

    def on_fit_end(self) -> None:
        """Stop the clock."""
        self.fit_seconds += time.perf_counter() - self._started

    def on_train_epoch_start(self) -> None:
        """Tell the loader the epoch, so that a resumed run sees the order of an uninterrupted one."""
        loader: Any = self.trainer.train_dataloader
        loader.set_epoch(self.current_epoch)
        self._losses = {name: torch.zeros(len(self.rates), device=self.device) for name in self.heads}

    def training_step(self, batch: FeatureBatch, batch_idx: int) -> Tensor:
        """Sum over features and heads of the mean loss over the samples that each may train on."""
        views = len(batch.features) // batch.members.shape[1]  # 2 for pairs
        rows = batch.members.repeat_interleave(views, dim=1)
        weights = batch.members / batch.members.sum(1, keepdim=True).clamp_min(1)
        losses = []
        for name, features in self._split(batch).items():
            outputs = self.feature_heads()[name].head(features, rows)
            losses.append((self.task.loss(outputs, batch.targets) * weights).sum((1, 2)))  # (R, H, B) -> (R,)
            self._losses[name] += losses[-1].detach()
        return torch.cat(losses).sum()

    def on_train_epoch_end(self) -> None:
        """Log the mean loss of the epoch (the lowest of the learning rates, mean over folds)."""
        self.epochs_done += 1
        for name, heads in self.feature_heads().items():
            losses = self._losses[name] / (self.trainer.num_training_batches * len(heads.head.biases[0]))
            if not losses.isfinite().any():
                raise UsageError(f"training diverged in epoch {self.current_epoch}: lower model.lr (now {self.rates})")
            loss = losses.nan_to_num(nan=math.inf).min()
            self.log(f"train/{self._key(name)}loss", loss, prog_bar=True, batch_size=1)

    def on_validation_start(self) -> None:
        """Refuse to report a head that was never trained."""
        if self._validates():
            self._refuse_untrained()

    def validation_step(self, batch: FeatureBatch, batch_idx: int) -> None:
        """Collect the outputs of all heads."""
        for name, features in self._split(batch).items():
            outputs = self.task.reduce(self.feature_heads()[name].head(features))
            self._collected.setdefault((name, "all"), []).append(outputs.cpu())

    def on_validation_epoch_end(self) -> None:
        """Score every head, or its companion, on its own samples; remember the best epoch of each fold."""
        collected, self._collected = self._collected, {}
        assert self._plan is not None
        part = self._plan.choice
        assert part is not None
        if self.trainer.sanity_checking:
            return
        sign = 1.0 if self.task.higher_is_better else -1.0
        for name, heads in self.feature_heads().items():
            # the companions stand behind the heads
            outputs = torch.cat(collected[name, "all"], dim=2)[:, -self._plan.folds :]
            scores = torch.empty(outputs.shape[:2])
            for k, mine in enumerate(part.members):
                targets = {key: value[mine] for key, value in part.targets.items()}
                values = [self.task.choice_score(each[k][mine], targets) for each in outputs]
                scores[:, k] = sign * torch.tensor(values)
            top = scores.max(0).values if self._validates() else heads.judge(scores, self.current_epoch + 1)
            key = f"val/{self._key(name)}{self.task.monitor}"
            self.log(key, sign * float(top.mean()), prog_bar=True, batch_size=1)

    def on_test_start(self) -> None:
        """Refuse to report a head that was never trained."""
        self._refuse_untrained()

    def test_step(self, batch: FeatureBatch, batch_idx: int) -> None:
        """Collect the outputs; the metrics are computed on all of them at once."""
        for name, features in self._split(batch).items():
            found = (
                self.feature_heads()[name].reported(features) if self.task.trained else {"last": features.unsqueeze(0)}
            )
            for epoch, outputs in found.items():
                self._collected.setdefault((name, epoch), []).append(self.task.reduce(outputs).cpu())

    def on_test_epoch_end(self) -> None:
        """Compute and log the metrics: ``test/...`` of the last epoch, ``test_best/...`` of the best one."""
        assert self._plan is not None
        assert self._plan.test is not None
        collected, self._collected = self._collected, {}
        found: dict[str, dict[str, Metrics]] = {}
        for (name, epoch), outputs in collected.items():
            metrics = self.evaluate(torch.cat(outputs, dim=1), self._plan.test)
            found.setdefault(name, {})[epoch] = metrics
            prefix = f"{'test' if epoch == 'last' else 'test_best'}/{self._key(name)}"
            scalars = {f"{prefix}{key}": value for key, value in metrics.items() if isinstance(value, float)}
            self.log_dict(scalars, batch_size=1)
        self.results = describe_run(self, self._data(), self._plan, found)

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
        self.fit_seconds = checkpoint.get("fit_seconds", 0.0)
        if self.heads:
            return
        for name in dict.fromkeys(key.split(".")[1] for key in checkpoint["state_dict"] if key.startswith("heads.")):
            prefix = f"heads.{name}."
            state = {key.removeprefix(prefix): value for key, value in checkpoint["state_dict"].items()}
            self.heads[name] = FeatureHeads.like(state)

    def _split(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The columns of each feature of a batch."""
        return {name: batch.features[:, columns] for name, columns in self.source.columns.items()}

    def _key(self, feature: str) -> str:
        """Part of the name of a logged value: nothing where there is only one feature."""
        return "" if len(self.source.columns) == 1 else f"{feature}/"

    def _set_statistics(self, train: Part, folds: int) -> None:
        scale = self.task.prepare(train)
        if self.input_norm == "standardize":
            mean, variance = feature_moments(self.source.table(train.faces), train.used_rows())
        for name, heads in self.feature_heads().items():
            columns = self.source.columns[name]
            for stack, count in ((heads.head, len(train.members)), (heads.best, folds)):
                if self.input_norm == "standardize":
                    stack.set_statistics(mean[:count, columns], variance[:count, columns])
                if scale is not None:
                    stack.set_output_scale(scale[0][:count], scale[1][:count])

    def _validates(self) -> bool:
        """Whether this is `pcfrl validate`; `trainer.validating` is true in a fit as well."""
        return self.trainer.state.fn == "validate"

    def _refuse_untrained(self) -> None:
        if self.task.trained and not int(self.epochs_done):
            raise UsageError("the head is not trained: run `pcfrl fit` first and give its checkpoint as --ckpt_path")

    def _used(self) -> dict[str, Part]:
        """The parts that the stage needs features of."""
        plan = self._plan
        assert plan is not None
        if self.trainer.testing:
            parts = {"test": plan.test}
        else:
            parts = {"train": None if self._validates() else plan.train, "val": plan.choice}
        return {name: part for name, part in parts.items() if part is not None}

    def _loader(self, name: str, part: Part) -> FeatureBatches:
        """Only training is shuffled, in an order given by seed and epoch."""
        if name != "train":
            return self.source.loader(part, EVALUATION_BATCH)
        return self.source.loader(part, self.batch_size, self.rules.protocol == "default" or self.task.paper_shuffles)

    def _data(self) -> Any:
        if self.trainer.world_size > 1:
            raise UsageError("a probe trains on cached features in seconds: run it with trainer.devices: 1")
        data = getattr(self.trainer, "datamodule", None)
        if data is None:
            raise UsageError(f"{type(self).__name__} needs a data module: trainer.fit(probe, datamodule=...)")
        return data
