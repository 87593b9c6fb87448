"""Probes of any label of any data set."""

from typing import Any, Literal

import torch

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.probes.probe import Probe
from pcfrl_lightning.probes.tasks.base import Task, need
from pcfrl_lightning.probes.tasks.classes import Classes
from pcfrl_lightning.probes.tasks.numbers import Numbers
from pcfrl_lightning.probes.tasks.pairs import CosinePairs
from pcfrl_lightning.probes.tasks.several import SeveralClasses

Kind = Literal["auto", "class", "classes", "number", "pairs"]
KINDS: dict[str, type[Task]] = {"class": Classes, "classes": SeveralClasses, "number": Numbers, "pairs": CosinePairs}
MOST_CLASSES = 100


class LabelProbe(Probe):
    """A linear layer on frozen features for one label, whatever it is.

    Args:
        label: key of the label: a column of `LabelledFolder`, or of the batches of any data module.
        task: ``class`` (cross-entropy, accuracy), ``classes`` (0/1 each; binary cross-entropy, F1), ``number`` (mean
            absolute error in units of the label, R2), ``pairs`` (verification of the people that the label numbers, by
            the cosine of the features: `pcfrl test` alone), or a `Task` of your own by ``class_path``.  ``auto``:
            named values and the integers 0..C-1 (C <= 100) are classes, (n, A) of 0 and 1 several classes, others
            numbers.
        **kwargs: see `Probe`.
    """

    def __init__(self, label: str, task: Kind | Task = "auto", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(task, str) and task not in ("auto", *KINDS):
            raise ValueError(f"model.task must be auto, {', '.join(KINDS)} or a Task, got {task!r}")
        self.label = label
        self.kind = task if isinstance(task, str) else None
        if self.kind:
            self.save_hyperparameters("task")
        if isinstance(task, Task):
            self.task = task

    @property
    def has_head(self) -> bool:
        """As far as it is known before the data is: a label whose kind is still open is taken to need one."""
        return self.task.trained if self.kind is None else self.kind == "auto" or KINDS[self.kind].trained

    def choose_task(self, splits: dict[str, FaceSet]) -> Task:
        """By the kind of the label in the training split."""
        if self.kind is None:
            return self.task
        if self.kind != "auto":
            return KINDS[self.kind](self.label)
        if not (found := [splits[split] for split in ("train", "test") if split in splits]):
            raise DataError(f"{self.label} needs a split 'train'; the data set has {', '.join(splits) or 'none'}")
        return KINDS[kind_of(found[0], self.label)](self.label)


def kind_of(faces: FaceSet, label: str) -> Literal["class", "classes", "number"]:
    """What a label is by its values; see `LabelProbe`."""
    values = need(faces, label)
    if values.ndim > 1:
        return "classes" if bool(((values == 0) | (values == 1)).all()) else "number"
    if faces.class_names.get(label, []):
        return "class"
    codes = values.unique()
    few = len(codes) <= MOST_CLASSES and torch.equal(codes.double(), torch.arange(len(codes)).double())
    return "class" if few and not values.is_floating_point() else "number"
