"""The downstream tasks of the paper (method section 9), one row each."""

from collections.abc import Sequence
from typing import NamedTuple

from pcfrl_lightning.probes import (
    ActionUnitProbe,
    AttributeProbe,
    CosineVerification,
    ExpressionProbe,
    HeadPoseProbe,
    ImageProbe,
    LandmarkProbe,
    PoseClassProbe,
    Probe,
    VerificationProbe,
)


class Task(NamedTuple):
    """One row of the table of results.

    Attributes:
        name: as the command line knows it.
        data: data set, a name of `data.registry`.
        folder: where it lies under the data root.
        probe: what is measured, with its own protocol.
        image_size: evaluation size in pixels (paper).
        metric: the figure in the table; a key of the probe's metrics.
        lower_is_better: whether a small figure is a good one.
        unit: ``%`` for shares, printed times 100, ``deg`` or nothing.
        lr: candidates for the learning rate; one means none is chosen. Empty: nothing is trained, or the probe's own.
    """

    name: str
    data: str
    folder: str
    probe: type[Probe]
    image_size: int
    metric: str
    lower_is_better: bool = False
    unit: str = "%"
    lr: tuple[float, ...] = ()


TASKS: tuple[Task, ...] = (
    Task("fer2013", "fer2013", "fer2013", ExpressionProbe, 100, "accuracy"),
    Task("rafdb", "rafdb", "rafdb", ExpressionProbe, 100, "accuracy"),
    Task("affectnet7", "affectnet7", "affectnet", ExpressionProbe, 100, "accuracy"),
    Task("lfw", "lfw", "lfw", CosineVerification, 128, "accuracy"),
    Task("lfw-linear", "lfw", "lfw", VerificationProbe, 128, "accuracy"),
    Task("cplfw", "cplfw", "cplfw", CosineVerification, 128, "accuracy"),
    Task("cplfw-linear", "cplfw", "cplfw", VerificationProbe, 128, "accuracy"),
    Task("disfa", "disfa", "disfa", ActionUnitProbe, 128, "f1"),
    Task("aflw2000", "300w-lp-aflw2000", "300w-lp", HeadPoseProbe, 256, "mae_mean", True, "deg"),
    Task("bu3dfe", "bu3dfe", "bu3dfe", ExpressionProbe, 100, "accuracy"),
    Task("bu3dfe-pose", "bu3dfe-rendered", "bu3dfe-rendered", PoseClassProbe, 256, "accuracy"),
    Task("celeba", "celeba", "celeba", AttributeProbe, 128, "accuracy"),
    Task("300w", "300w", "300w", LandmarkProbe, 128, "nme", True),
    Task("wflw", "wflw", "wflw", LandmarkProbe, 128, "nme", True),
    Task("cifar10", "cifar10", "cifar10", ImageProbe, 32, "accuracy"),
    Task("stl10", "stl10", "stl10", ImageProbe, 96, "accuracy"),
)
"""Adding a task is adding a row; the protocols are those of the probes."""


def tasks_named(names: Sequence[str] | None, tasks: Sequence[Task] = TASKS) -> list[Task]:
    """The rows of some names, in the order of the table; all rows for None.

    Raises:
        ValueError: an unknown name; lists the known ones.
    """
    if names is None:
        return list(tasks)
    known = [task.name for task in tasks]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown task {', '.join(unknown)}; known are {', '.join(known)}")
    return [task for task in tasks if task.name in names]
