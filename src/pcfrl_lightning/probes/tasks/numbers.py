"""Numbers per image: age, angles; linear regression with an L1 loss."""

import math

import torch
from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.probes.metrics import banded_mae
from pcfrl_lightning.probes.plan import Part
from pcfrl_lightning.probes.results import Metrics
from pcfrl_lightning.probes.tasks.base import Task, finite_labels


class Numbers(Task):
    """Mean absolute error on one or several numbers, (n,) or (n, C), in units of the label.  Arguments as of `Task`.

    Heads start at the mean of their training targets and learn in units of their standard deviation, so that the
    learning rate does not depend on the unit.
    """

    monitor = "mae"
    higher_is_better = False

    def __init__(self, label: str, name: str = "") -> None:
        super().__init__(label, name)
        self.columns: list[str] = []

    def outputs(self, faces: FaceSet) -> int:
        return math.prod(faces.labels[self.label].shape[1:])

    def targets(self, faces: FaceSet) -> dict[str, Tensor]:
        values = finite_labels(faces, self.label).reshape(len(faces), -1)
        names = faces.class_names.get(self.label, [])
        numbers = [str(column) for column in range(values.shape[1])]
        self.columns = names if len(names) == values.shape[1] else numbers
        return {"values": values}

    def prepare(self, train: Part) -> tuple[Tensor, Tensor] | None:
        """Mean and standard deviation of each head's training targets, (H, C)."""
        weights = train.members.double() / train.members.sum(1, keepdim=True)
        values = train.targets["values"].double()
        mean = weights @ values
        spread = torch.stack([w @ (values - m).square() for w, m in zip(weights, mean, strict=True)]).sqrt()
        return mean.float(), torch.where(spread > 0, spread, 1.0).float()

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return (outputs - targets["values"]).abs().mean(-1)

    def predictions(self, outputs: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """(n,) for one number, else (n, C)."""
        values = targets["values"]
        return (outputs.squeeze(-1), values.squeeze(-1)) if values.shape[1] == 1 else (outputs, values)

    def metrics(self, outputs: Tensor, targets: dict[str, Tensor]) -> Metrics:
        """Mean absolute error, and for several columns that of each; R2 (mean over columns); the error of a constant.

        ``mae_constant`` is the error of the median of the test targets: what needs no image.
        """
        values = targets["values"].double()
        errors = (outputs.double() - values).abs()
        left = (outputs.double() - values).square().sum(0)
        spread = (values - values.mean(0)).square().sum(0)
        found: Metrics = {
            "mae": float(errors.mean()),
            "mae_constant": float((values - values.median(0).values).abs().mean()),
            "r2": float((1 - left / spread).mean()),
        }
        if len(self.columns) > 1:
            found |= {f"mae_{name}": error for name, error in zip(self.columns, errors.mean(0).tolist(), strict=True)}
        return found


ANGLES = ("yaw", "pitch", "roll")
YAW_BANDS = (0.0, 30.0, 60.0, 180.0)
YAW_STEPS = tuple(float(step) for step in range(-90, 91, 15))
"""Edges of the bands of the signed yaw for which the error is kept as a curve, degrees."""


class HeadPose(Numbers):
    """L1 on yaw, pitch and roll in degrees, label ``pose`` (n, 3), as the paper trains it: from zero, in degrees."""

    monitor = "mae_mean"

    def __init__(self) -> None:
        super().__init__("pose", "head pose")

    def prepare(self, train: Part) -> None:
        """As published: no scale."""

    def targets(self, faces: FaceSet) -> dict[str, Tensor]:
        return {"values": finite_labels(faces, "pose", 180.0, "three angles within +-180 degrees", (3,))}

    def metrics(self, outputs: Tensor, targets: dict[str, Tensor]) -> Metrics:
        """Mean absolute error in degrees of each angle and their mean, by band of the size of the true yaw, and in the
        bands of `YAW_STEPS` (nan for one without images)."""
        pose = targets["values"]
        errors = (outputs - pose).abs().double().mean(0).tolist()
        bands = banded_mae(outputs, pose, pose[:, 0], YAW_BANDS)
        result: Metrics = {f"mae_{angle}": error for angle, error in zip(ANGLES, errors, strict=True)}
        result["mae_mean"] = sum(errors) / len(errors)
        for low, high, error in zip(YAW_BANDS[:-1], YAW_BANDS[1:], bands, strict=True):
            result[f"mae_mean_yaw_{low:.0f}_{high:.0f}"] = error
        turned = pose[:, 0] - YAW_STEPS[0]  # from 0 on, as bands are of a size; yaws beyond the first edge are left out
        shifted = torch.where(turned < 0, torch.inf, turned)
        result["mae_by_yaw"] = list(banded_mae(outputs, pose, shifted, [step - YAW_STEPS[0] for step in YAW_STEPS]))
        return result
