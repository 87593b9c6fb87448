"""What is asked of frozen features: labels, loss, metrics and protocol of a task."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.errors import DataError, UsageError
from pcfrl_lightning.probes.heads import InputNorm
from pcfrl_lightning.probes.metrics import NamedMetric
from pcfrl_lightning.probes.plan import Part, Plan, Rules, groups_of, hold_out_groups, whole
from pcfrl_lightning.probes.results import Metrics, average_folds

HELD_OUT = "held-out training data"


class Task(ABC):
    """One question to frozen features.  A new task is a subclass in one file; a config names it as ``model.task``.

    Leading dimensions of outputs in `loss` are R learning rates and K heads; `score`, `metrics` and `predictions` see
    the outputs of one head.

    Args:
        label: the label of the data set that holds the answer.
        name: as results.json calls it; default: the label.
    """

    monitor: str  # metric by which learning rate and best epoch are chosen
    higher_is_better: bool = True  # whether a high value of it is a good one
    input_norm: InputNorm = "batchnorm"  # what precedes the linear layer of a network's features
    paper_shuffles: bool = True  # whether the public code shuffles the training samples (``protocol: paper``)
    trained: bool = True  # whether there is a head to fit

    def __init__(self, label: str, name: str = "") -> None:
        self.label, self.name = label, name or label
        self.metric: NamedMetric | None = None

    @abstractmethod
    def targets(self, faces: FaceSet) -> dict[str, Tensor]:
        """Checked targets of a split, one row per image.  Raises DataError naming split, row and image."""

    @abstractmethod
    def outputs(self, faces: FaceSet) -> int:
        """C, the values a head gives per sample; ``faces`` are the training images."""

    @abstractmethod
    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Loss per sample, (R, K, B), of outputs (R, K, B, C)."""

    @abstractmethod
    def metrics(self, outputs: Tensor, targets: dict[str, Tensor]) -> Metrics:
        """Metrics of outputs (n, ...) of one head on its test samples."""

    def predictions(self, outputs: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """What a metric of torchmetrics is given, ``preds`` and ``target``."""
        raise NotImplementedError

    def plan(self, splits: dict[str, FaceSet], stage: str, rules: Rules) -> Plan:
        """Train on ``train``, choose on ``val``, test on ``test``; the last is not looked at before it is needed.

        Without a ``val`` split, whole groups of training images are held out for the choice.
        """
        train = self.part(splits, "train")
        test = self.part(splits, "test") if stage == "test" or rules.protocol == "paper" else None
        if rules.protocol == "paper":
            return Plan(train, test, "test", test)
        if "val" in splits:
            return Plan(train, self.part(splits, "val"), "val", test)
        return hold_out_groups(Plan(train, None, "", test), groups_of(train.faces, self.label), rules, HELD_OUT)

    def part(self, splits: dict[str, FaceSet], split: str) -> Part:
        """All images of a split with their targets."""
        if split not in splits:
            there = f"the data set has {', '.join(sorted(splits))}: give a data.root that holds it"
            raise DataError(f"{self.name} needs a split '{split}'; {there}")
        return whole(splits[split], self.targets(splits[split]))

    def prepare(self, train: Part) -> tuple[Tensor, Tensor] | None:
        """Hook before fitting: offset and scale (H, C) that are built into the H heads; None: 0 and 1."""
        return None

    def reduce(self, outputs: Tensor) -> Tensor:
        """What is kept of outputs (..., B V, C) for the metrics, (..., B, ...)."""
        return outputs

    def score(self, outputs: Tensor, targets: dict[str, Tensor]) -> float:
        """Hook: the monitored metric, where it can be had cheaper than by `metrics`."""
        value = self.metrics(outputs, targets)[self.monitor]
        assert isinstance(value, float)
        return value

    def use(self, metric: NamedMetric) -> None:
        """Report one more metric, and choose by it, unless torchmetrics does not say whether higher is better.

        Raises:
            UsageError: the task has no `predictions`.
        """
        if type(self).predictions is Task.predictions:
            raise UsageError(f"model.metric {metric.name}: {self.name} takes no further metric")
        self.metric = metric
        if metric.higher_is_better is not None:
            self.monitor, self.higher_is_better = metric.name, metric.higher_is_better

    def choice_scores(self, outputs: Tensor, part: Part) -> Tensor:
        """What learning rate and best epoch are chosen by, (R, K), of outputs (R, K, n, ...) on their own samples."""
        scores = torch.empty(outputs.shape[:2])
        for k, mine in enumerate(part.members):
            targets = part.targets_of(mine)
            scores[:, k] = torch.tensor([self._choice_score(each[k][mine], targets) for each in outputs])
        return scores

    def _choice_score(self, outputs: Tensor, targets: dict[str, Tensor]) -> float:
        if self.metric is None or self.monitor != self.metric.name:
            return self.score(outputs, targets)
        value = self.metric(*self.predictions(outputs, targets))
        return value if isinstance(value, float) else sum(value) / len(value)

    def all_metrics(self, outputs: Tensor, targets: dict[str, Tensor]) -> Metrics:
        """`metrics` and the one of `use`."""
        found = self.metrics(outputs, targets)
        if self.metric is not None:
            found[self.metric.name] = self.metric(*self.predictions(outputs, targets))
        return found

    def evaluate(self, outputs: Tensor, part: Part) -> Metrics:
        """Metrics of outputs (K, n, ...): those of each fold on its own samples, averaged over folds."""
        members = enumerate(part.members)
        return average_folds([self.all_metrics(outputs[k][mine], part.targets_of(mine)) for k, mine in members])

    def facts(self) -> dict[str, Any]:
        """Hook: settings for results.json."""
        return {}


def need(faces: FaceSet, key: str, shape: tuple[int | None, ...] | None = None, expected: str = "") -> Tensor:
    """The label ``key`` of a split; where it has none, the DataError says why if the data set knows.

    A ``shape`` for each image is demanded of it if it is given, None for any length, in words ``expected``.
    """
    if key not in faces.labels:
        found = ", ".join(sorted(faces.labels)) or "none"
        raise DataError(f"{faces.name}: needs the label '{key}', " + faces.unusable.get(key, f"has {found}"))
    labels = faces.labels[key]
    here = tuple(labels.shape[1:])
    wanted = here if shape is None else shape
    if len(wanted) != len(here) or any(a not in (None, b) for a, b in zip(wanted, here, strict=True)):
        raise DataError(f"{faces.name}: '{key}' is {here} for each image, expected {expected}")
    return labels


def check(faces: FaceSet, key: str, good: Tensor, expected: str) -> None:
    """Refuse labels whose rows are not all ``good`` (n,); the DataError names the first bad one and its image."""
    if not bool(good.all()):
        row = int((~good).nonzero()[0])
        found = f"'{key}' of row {row} ({faces.source.name(row)}) is {faces.labels[key][row].tolist()}"
        raise DataError(f"{faces.name}: {found}, expected {expected} ({int((~good).sum())} bad rows)")


def finite_labels(
    faces: FaceSet,
    key: str,
    limit: float = torch.inf,
    expected: str = "a finite number",
    shape: tuple[int | None, ...] | None = None,
) -> Tensor:
    """(n, ...) float32, finite and at most ``limit`` in absolute value; ``shape`` as of `need`."""
    labels = need(faces, key, shape, expected).float()
    fine = labels.isfinite() & (labels.abs() <= limit)
    check(faces, key, fine.flatten(1).all(1) if labels.ndim > 1 else fine, expected)
    return labels
