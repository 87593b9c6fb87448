"""Which samples a probe trains on, chooses on and is tested on."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.data.split import hold_out
from pcfrl_lightning.errors import DataError, UsageError
from pcfrl_lightning.probes.heads import InputNorm

Protocol = Literal["default", "paper"]
GROUPS = ("group", "subject", "identity", "photo", "person")
"""Labels of images that must not be parted, the first one there counts."""


@dataclass(frozen=True)
class Rules:
    """Protocol and training of the heads; see `Probe`.  Refuses values out of range by the key of the model."""

    protocol: Protocol
    val_fraction: float
    seed: int
    rates: list[float]
    input_norm: InputNorm | None
    batch_size: int
    weight_decay: float

    def __post_init__(self) -> None:
        fine = bool(self.rates) and all(math.isfinite(rate) and rate > 0 for rate in self.rates)
        require("lr", self.rates, fine, "one or several positive numbers")
        require("protocol", self.protocol, self.protocol in ("default", "paper"), "default or paper")
        if self.protocol == "paper" and len(self.rates) > 1:
            raise ValueError("model.lr: protocol paper has no validation data to choose with; give one learning rate")
        known = self.input_norm in (None, "none", "standardize", "batchnorm")
        require("input_norm", self.input_norm, known, "none, standardize or batchnorm")
        require("batch_size", self.batch_size, self.batch_size >= 1, "at least 1")
        require("val_fraction", self.val_fraction, 0 <= self.val_fraction < 1, "at least 0 and below 1")
        require("weight_decay", self.weight_decay, self.weight_decay >= 0, "0 or more")


class Part(NamedTuple):
    """Samples for training, choosing or testing."""

    faces: FaceSet  # the images whose features the samples use
    rows: Tensor  # (n, V) long, images of each sample; V = 1, or 2 for pairs
    targets: dict[str, Tensor]  # tensors with n rows
    members: Tensor  # (K, n) bool, samples of each fold; in training of each head: K, or 2 K with companions

    def restrict(self, members: Tensor) -> "Part":
        """The same samples with other members, without the samples that belong to no fold."""
        kept = members.any(0)
        return Part(self.faces, self.rows[kept], self.targets_of(kept), members[:, kept])

    def targets_of(self, samples: Tensor) -> dict[str, Tensor]:
        """The targets of some samples, by number or as (n,) bool."""
        return {key: value[samples] for key, value in self.targets.items()}

    def to(self, device: torch.device) -> "Part":
        """The same samples, their numbers, targets and members on a device."""
        targets = {key: value.to(device) for key, value in self.targets.items()}
        return Part(self.faces, self.rows.to(device), targets, self.members.to(device))

    def used_rows(self) -> Tensor:
        """(K, number of images) bool, the images that the samples of each fold use."""
        used = torch.zeros(len(self.members), len(self.faces), dtype=torch.bool)
        for k, mine in enumerate(self.members):
            used[k, self.rows[mine].flatten()] = True
        return used


class Plan(NamedTuple):
    """The parts of a protocol."""

    train: Part | None  # what the heads are fitted on
    choice: Part | None  # what learning rate and best epoch are chosen on
    choice_name: str  # what that is: val, held-out training subjects, test (protocol paper) ...
    test: Part | None  # what the metrics are computed on
    folds: int = 1  # K, the heads that are reported
    val_fraction: float | None = None  # share of the training samples that were put aside for `choice`

    def parts(self, stage: str) -> dict[str, Part]:
        """What ``fit``, ``validate`` or ``test`` needs features of, by the name of its loader."""
        names = {"fit": ("train", "val"), "validate": ("val",), "test": ("test",)}[stage]
        every = {"train": self.train, "val": self.choice, "test": self.test}
        return {name: part for name in names if (part := every[name]) is not None}

    def check(self, task: str, stage: str, rates: int) -> None:
        """Refuse to validate, or to choose among several learning rates, without samples to do it on, and splits whose
        labels are of other lengths than those of the training split.
        """
        if self.choice is None and stage == "validate":
            raise UsageError(f"{task}: there are no samples to validate on")
        if self.choice is None and self.train is not None and rates > 1:
            raise DataError(f"{self.train.faces.name}: no samples to choose among several model.lr with; give one")
        if (train := self.train) is None:
            return
        for part in filter(None, (self.choice, self.test)):
            for key in train.targets.keys() & part.targets.keys():
                here, there = (tuple(each.targets[key].shape[1:]) for each in (part, train))
                if here != there:
                    where = f"that of {train.faces.name} {there}"
                    raise DataError(f"{part.faces.name}: the label of {task} is {here} for each image, {where}")


def require(key: str, value: object, fine: bool, expected: str) -> None:
    """Refuse a setting of the model: ValueError that names it."""
    if not fine:
        raise ValueError(f"model.{key} must be {expected}, got {value!r}")


def whole(faces: FaceSet, targets: dict[str, Tensor]) -> Part:
    """All images of a split, one fold."""
    n = len(faces)
    return Part(faces, torch.arange(n).unsqueeze(1), targets, torch.ones(1, n, dtype=torch.bool))


def groups_of(faces: FaceSet, label: str = "") -> Tensor:
    """(n,) long, equal for images that must not be parted: those of one group, subject or photo; else each its own.

    ``label``, which is learned, is not a group: each of its values must be seen in training.
    """
    for key in GROUPS:
        values = faces.labels.get(key)
        if key != label and values is not None and not _same_partition(values, faces.labels.get(label)):
            return values
    return torch.arange(len(faces))


def with_companions(plan: Plan, held: Tensor, name: str, fraction: float | None = None) -> Plan:
    """Give each head a companion that is trained without ``held`` (K, n) and can be scored there.

    The companion chooses learning rate and best epoch of its head, which thereby loses no training sample: the plan
    gets training members (2 K, n), heads first, and a part to choose on.  It stays as it is where a fold would have
    nothing to choose on or nothing to train on.
    """
    train = plan.train
    assert train is not None
    chosen, rest = train.members & held, train.members & ~held
    if not bool((chosen.any(1) & rest.any(1)).all()):
        return plan
    heads = train._replace(members=torch.cat([train.members, rest]))
    return plan._replace(train=heads, choice=train.restrict(chosen), choice_name=name, val_fraction=fraction)


def hold_out_groups(plan: Plan, groups: Tensor, rules: Rules, name: str) -> Plan:
    """`with_companions` that hold out whole groups (n,) of each fold's training samples."""
    assert plan.train is not None
    held = torch.zeros_like(plan.train.members)
    for mine, put_aside in zip(plan.train.members, held, strict=True):
        put_aside[mine] = hold_out(groups[mine], rules.val_fraction, rules.seed)
    return with_companions(plan, held, name, rules.val_fraction)


def _same_partition(groups: Tensor, values: Tensor | None) -> bool:
    """Whether the groups are the classes themselves (a column named twice)."""
    if values is None or values.shape != groups.shape or values.is_floating_point():
        return False
    pairs = torch.stack([groups, values]).unique(dim=1).shape[1]
    return pairs == len(groups.unique()) == len(values.unique())
