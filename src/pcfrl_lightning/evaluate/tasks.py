"""The downstream tasks of the paper (method section 9), one row each."""

from collections.abc import Sequence
from typing import NamedTuple

from pcfrl_lightning import probes
from pcfrl_lightning.errors import near


class Task(NamedTuple):
    """One row of the table of results."""

    name: str  # as the command line knows it
    data: str  # data set, a name of `data.registry`
    folder: str  # where it lies under the data root
    probe: type[probes.Probe]  # what is measured, with its own protocol
    image_size: int  # for the evaluation, pixels (paper)
    metric: str  # the figure in the table; a key of the probe's metrics
    lower_is_better: bool = False
    unit: str = "%"  # of shares, printed times 100; ``deg`` or nothing
    lr: tuple[float, ...] = ()  # candidates for the learning rate; empty: the probe's own


TASKS: tuple[Task, ...] = (
    Task("fer2013", "fer2013", "fer2013", probes.ExpressionProbe, 100, "accuracy"),
    Task("rafdb", "rafdb", "rafdb", probes.ExpressionProbe, 100, "accuracy"),
    Task("affectnet7", "affectnet7", "affectnet", probes.ExpressionProbe, 100, "accuracy"),
    Task("lfw", "lfw", "lfw", probes.CosineVerification, 128, "accuracy"),
    Task("lfw-linear", "lfw", "lfw", probes.VerificationProbe, 128, "accuracy"),
    Task("cplfw", "cplfw", "cplfw", probes.CosineVerification, 128, "accuracy"),
    Task("cplfw-linear", "cplfw", "cplfw", probes.VerificationProbe, 128, "accuracy"),
    Task("disfa", "disfa", "disfa", probes.ActionUnitProbe, 128, "f1"),
    Task("aflw2000", "300w-lp-aflw2000", "300w-lp", probes.HeadPoseProbe, 256, "mae_mean", True, "deg"),
    Task("bu3dfe", "bu3dfe", "bu3dfe", probes.ExpressionProbe, 100, "accuracy"),
    Task("bu3dfe-pose", "bu3dfe-rendered", "bu3dfe-rendered", probes.PoseClassProbe, 256, "accuracy"),
    Task("celeba", "celeba", "celeba", probes.AttributeProbe, 128, "accuracy"),
    Task("300w", "300w", "300w", probes.LandmarkProbe, 128, "nme", True),
    Task("wflw", "wflw", "wflw", probes.LandmarkProbe, 128, "nme", True),
    Task("cifar10", "cifar10", "cifar10", probes.ImageProbe, 32, "accuracy"),
    Task("stl10", "stl10", "stl10", probes.ImageProbe, 96, "accuracy"),
)
"""Adding a task is adding a row; the protocols are those of the probes."""


def tasks_named(names: Sequence[str] | None, tasks: Sequence[Task] = TASKS) -> list[Task]:
    """The rows of some names, in the order of the table; all rows for None.  A ValueError lists the known names."""
    if names is None:
        return list(tasks)
    known = [task.name for task in tasks]
    if unknown := [name for name in names if name not in known]:
        hint = near(unknown[0], known) if len(unknown) == 1 else ""
        raise ValueError(f"unknown task {', '.join(unknown)}{hint}; known are {', '.join(known)}")
    return [task for task in tasks if task.name in names]
