"""Linear evaluation: linear heads on frozen features, several learning rates and folds in one pass."""

import math
import time
from abc import abstractmethod
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.split import hold_out
from pcfrl_lightning.errors import DataError, UsageError
from pcfrl_lightning.networks.checkpoint import read_checkpoint
from pcfrl_lightning.probes.features.choice import HAND_MADE
from pcfrl_lightning.probes.features.loaders import FeatureBatch
from pcfrl_lightning.probes.heads import InputNorm, StackedHead
from pcfrl_lightning.probes.moments import training_moments
from pcfrl_lightning.probes.plan import Part, Plan, groups_of, whole, with_companions
from pcfrl_lightning.probes.probe import EVALUATION_BATCH, FeatureProbe
from pcfrl_lightning.probes.trained_on import check_training, describe_training, forget_test
from pcfrl_lightning.schedule import scheduled

Protocol = Literal["default", "paper"]
HELD_OUT = "held-out training data"


class LinearProbe(FeatureProbe):
    """One linear layer on frozen features (method section 9).

    The default protocol fits on the training split, chooses the learning rate (and labels a best epoch) on validation
    data, and reports the last epoch on the test split; no test label is read before `test`.  ``protocol: paper`` does
    what the public code does: test metrics in every epoch, the best test epoch beside the last one, and no shuffling
    where the public code had none; results say so.

    Args:
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
        **kwargs: see `FeatureProbe`.

    Raises:
        ValueError: a value out of range, or several learning rates under ``protocol: paper``; names the key.
    """

    monitor: ClassVar[str]
    """Metric by which learning rate and best epoch are chosen."""
    higher_is_better: ClassVar[bool] = True
    default_norm: ClassVar[InputNorm] = "batchnorm"
    paper_shuffles: ClassVar[bool] = True
    comes_from: str | None = None  # checkpoint to be loaded: a wrong one is refused before files are touched

    head: StackedHead
    best: StackedHead
    choice_scores: Tensor
    best_scores: Tensor
    best_epochs: Tensor
    best_candidates: Tensor
    epochs_done: Tensor

    def __init__(
        self,
        lr: float | list[float] = 1e-2,
        input_norm: InputNorm | None = None,
        protocol: Protocol = "default",
        batch_size: int = 256,
        weight_decay: float = 0.0,
        val_fraction: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rates = [lr] if isinstance(lr, (int, float)) else list(lr)
        if not self.rates or not all(math.isfinite(rate) and rate > 0 for rate in self.rates):
            raise ValueError(f"model.lr must be one or several positive numbers, got {lr}")
        if protocol not in ("default", "paper"):
            raise ValueError(f"model.protocol must be default or paper, got {protocol!r}")
        if protocol == "paper" and len(self.rates) > 1:
            raise ValueError("model.lr: protocol paper has no validation data to choose with; give one learning rate")
        if batch_size < 1:
            raise ValueError(f"model.batch_size must be at least 1, got {batch_size}")
        if not 0 <= val_fraction < 1:
            raise ValueError(f"model.val_fraction must be at least 0 and below 1, got {val_fraction}")
        if weight_decay < 0:
            raise ValueError(f"model.weight_decay must not be negative, got {weight_decay}")
        self.protocol, self.batch_size = protocol, batch_size
        self.weight_decay, self.val_fraction = weight_decay, val_fraction
        self.input_norm = input_norm or ("standardize" if self.baseline in HAND_MADE else self.default_norm)
        if self.input_norm not in ("none", "standardize", "batchnorm"):
            raise ValueError(f"model.input_norm must be none, standardize or batchnorm, got {input_norm!r}")
        self.fit_seconds = 0.0
        self._started = 0.0
        self._trained_on: dict[str, Any] = {}
        self._built = False
        self._epoch_losses = torch.zeros(len(self.rates))
        self._choosing: list[Tensor] = []

    @abstractmethod
    def targets(self, faces: FaceSet) -> dict[str, Tensor]:
        """Checked targets of a split, one row per image."""

    @abstractmethod
    def outputs(self, faces: FaceSet) -> int:
        """C, the values a head gives per sample."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Loss per sample, (R, K, B), of outputs (R, K, B, C)."""

    def reduce(self, outputs: Tensor) -> Tensor:
        """What is kept of outputs (..., B V, C) for the metrics, (..., B, ...)."""
        return outputs

    def score(self, outputs: Tensor, targets: dict[str, Tensor]) -> float:
        """What learning rate and best epoch are chosen by; higher is better."""
        value = self.metrics(outputs, targets)[self.monitor]
        assert isinstance(value, float)
        return value if self.higher_is_better else -value

    def plan(self, splits: dict[str, FaceSet], stage: str) -> Plan:
        """Train on ``train``, choose on ``val``, test on ``test``; the last is not looked at before it is needed."""
        train = self._part(splits, "train")
        test = self._part(splits, "test") if stage == "test" or self.protocol == "paper" else None
        if self.protocol == "paper":
            return Plan(train, test, "test", test)
        if "val" in splits:
            return Plan(train, self._part(splits, "val"), "val", test)
        held = hold_out(groups_of(train.faces), self.val_fraction, self.seed)
        return with_companions(Plan(train, None, "", test), held.unsqueeze(0), HELD_OUT)

    def prepare_data(self) -> None:
        """See `FeatureProbe`; refuses the checkpoint of a head that was trained on other data."""
        super().prepare_data()
        self._trained_on = describe_training(self._data(), self._plan)  # once: it reads the names of all images
        if self.comes_from:
            check_training(read_checkpoint(self.comes_from), self._trained_on)

    def prepare(self, plan: Plan, stage: str) -> None:
        """Build the heads and, before fitting, the statistics of their inputs."""
        assert plan.train is not None
        if plan.choice is None and len(self.rates) > 1:
            raise DataError(f"{plan.train.faces.name}: no samples to choose among several model.lr with; give one")
        if not self._built:
            dim = self.table((plan.train if stage == "fit" or plan.test is None else plan.test).faces).dim
            self._build(dim, self.outputs(plan.train.faces), plan.folds, len(plan.train.members))
        if stage == "fit" and self.input_norm == "standardize" and not int(self.epochs_done):
            mean, variance = training_moments(self.table(plan.train.faces), plan.train)
            self.head.set_statistics(mean, variance)
            self.best.set_statistics(mean[: plan.folds], variance[: plan.folds])

    def loader_options(self, name: str) -> dict[str, Any]:
        """Only training is shuffled, in an order given by seed and epoch."""
        shuffle = self.protocol == "default" or self.paper_shuffles
        training = {"batch_size": self.batch_size, "shuffle": shuffle, "seed": self.seed}
        return training if name == "train" else {"batch_size": EVALUATION_BATCH}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW with a group per learning rate, cosine over the epochs of the trainer."""
        groups = [{"params": self.head.candidate(i), "lr": rate} for i, rate in enumerate(self.rates)]
        return scheduled(self, torch.optim.AdamW(groups, weight_decay=self.weight_decay, fused=True))

    def on_fit_start(self) -> None:
        """Start the clock; what the run folder says about an earlier head goes."""
        forget_test(self.trainer)
        self._started = time.perf_counter()

    def on_fit_end(self) -> None:
        """Stop the clock."""
        self.fit_seconds += time.perf_counter() - self._started

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the seconds spent so far, for the results of a later `test`, and what the head is trained on."""
        checkpoint["trained_on"] = self._trained_on
        running = time.perf_counter() - self._started if self.trainer.state.fn == "fit" else 0.0
        checkpoint["fit_seconds"] = self.fit_seconds + running

    def on_train_epoch_start(self) -> None:
        """Tell the loader the epoch, so that a resumed run sees the order of an uninterrupted one."""
        loader: Any = self.trainer.train_dataloader
        loader.set_epoch(self.current_epoch)
        self._epoch_losses = torch.zeros(len(self.rates), device=self.device)

    def training_step(self, batch: FeatureBatch, batch_idx: int) -> Tensor:
        """Sum over heads of the mean loss over the samples that each may train on."""
        views = len(batch.features) // batch.members.shape[1]  # 2 for pairs
        rows = batch.members.repeat_interleave(views, dim=1)
        losses = self.loss(self.head(batch.features, rows), batch.targets)
        weights = batch.members / batch.members.sum(1, keepdim=True).clamp_min(1)
        per_rate = (losses * weights).sum((1, 2))  # (R, K, B) -> (R,)
        self._epoch_losses += per_rate.detach()
        return per_rate.sum()

    def on_train_epoch_end(self) -> None:
        """Log the mean loss of the epoch (the lowest of the learning rates, mean over folds)."""
        self.epochs_done += 1
        steps = self.trainer.num_training_batches * len(self.head.biases[0])
        losses = self._epoch_losses / steps
        if not losses.isfinite().any():
            raise UsageError(f"training diverged in epoch {self.current_epoch}: lower model.lr (now {self.rates})")
        self.log("train/loss", losses.nan_to_num(nan=math.inf).min(), prog_bar=True, batch_size=1)

    def validation_step(self, batch: FeatureBatch, batch_idx: int) -> None:
        """Collect the outputs of all heads."""
        self._choosing.append(self.reduce(self.head(batch.features)).cpu())

    def on_validation_epoch_end(self) -> None:
        """Score every head, or its companion, on its own samples; remember the best epoch of each fold."""
        assert self._plan is not None
        assert self._plan.choice is not None
        collected, self._choosing = self._choosing, []
        if self.trainer.sanity_checking:
            return
        outputs = torch.cat(collected, dim=2)[:, -self._plan.folds :]  # the companions stand behind the heads
        scores = self._choice_scores(outputs, self._plan.choice)
        self.choice_scores.copy_(scores)
        top, candidates = scores.max(0)
        for k in (top > self.best_scores).nonzero().flatten().tolist():
            self.best.copy_head(self.head, int(candidates[k]), k)
            self.best_scores[k], self.best_epochs[k] = top[k], self.current_epoch + 1
            self.best_candidates[k] = candidates[k]
        value = float(top.mean()) if self.higher_is_better else -float(top.mean())
        self.log(f"val/{self.monitor}", value, prog_bar=True, batch_size=1)

    def on_test_start(self) -> None:
        """Refuse to report a head that was never trained."""
        if not int(self.epochs_done):
            raise UsageError("the head is not trained: run `pcfrl fit` first and give its checkpoint as --ckpt_path")

    def test_outputs(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """Outputs (K, B, ...) of the chosen learning rate after the last epoch, and of the best epoch."""
        chosen = self.chosen_candidates()
        last = self.reduce(self.head(batch.features)[:, : len(chosen)])
        found = {"last": last[chosen, torch.arange(last.shape[1], device=last.device)]}
        if self._has_best():
            found["best"] = self.reduce(self.best(batch.features))[0]
        return found

    def chosen_candidates(self) -> Tensor:
        """(K,) long: index of the learning rate chosen after the last epoch, for each fold."""
        return self.choice_scores.argmax(0)

    def protocol_facts(self) -> dict[str, Any]:
        """Protocol, learning rates and epochs for results.json."""
        has_best = self._has_best()
        best = {"epochs": self.best_epochs.tolist(), "lr": [self.rates[i] for i in self.best_candidates.tolist()]}
        assert self._plan is not None
        return {
            "protocol": self.protocol,
            "epochs": int(self.epochs_done),
            "chosen_on": self._plan.choice_name or None,
            "lr": {"candidates": self.rates, "last": [self.rates[i] for i in self.chosen_candidates().tolist()]},
            "best_epoch": best if has_best else None,
            "input_norm": self.input_norm,
            "val_fraction": self.val_fraction if self._plan.choice_name == HELD_OUT else None,
            "batch_size": self.batch_size,
            "weight_decay": self.weight_decay,
            "fit_seconds": round(self.fit_seconds, 2),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a head of other data; build heads of the stored shape when there are no data."""
        check_training(checkpoint, self._trained_on)
        self.fit_seconds = checkpoint.get("fit_seconds", 0.0)
        if not self._built:
            heads, outputs, dim = checkpoint["state_dict"]["head.weights.0"].shape
            self._build(dim, outputs, len(checkpoint["state_dict"]["best_epochs"]), heads)

    def _build(self, dim: int, outputs: int, folds: int, heads: int) -> None:
        rates = len(self.rates)
        self.head = StackedHead(dim, outputs, rates, heads, self.input_norm, self.seed)
        self.best = StackedHead(dim, outputs, 1, folds, self.input_norm, self.seed).requires_grad_(False)
        self.register_buffer("choice_scores", torch.zeros(rates, folds))
        self.register_buffer("best_scores", torch.full((folds,), -math.inf))
        self.register_buffer("best_epochs", torch.zeros(folds, dtype=torch.long))
        self.register_buffer("best_candidates", torch.zeros(folds, dtype=torch.long))
        self.register_buffer("epochs_done", torch.zeros((), dtype=torch.long))
        self._built = True

    def _choice_scores(self, outputs: Tensor, part: Part) -> Tensor:
        scores = torch.empty(outputs.shape[:2])
        for k, mine in enumerate(part.members):
            targets = {key: value[mine] for key, value in part.targets.items()}
            scores[:, k] = torch.tensor([self.score(each[k][mine], targets) for each in outputs])
        return scores.nan_to_num(nan=-math.inf).to(self.device)

    def _has_best(self) -> bool:
        return bool((self.best_epochs > 0).all())

    def _part(self, splits: dict[str, FaceSet], split: str) -> Part:
        if split not in splits:
            raise DataError(
                f"{self.task} needs a split '{split}'; the data set has {', '.join(sorted(splits))}: give a data.root "
                "that holds it"
            )
        return whole(splits[split], self.targets(splits[split]))
