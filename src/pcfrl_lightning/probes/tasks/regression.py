"""Head pose and landmarks: linear regression with an L1 loss."""

from typing import Any

from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.probes.labels import check, finite_labels
from pcfrl_lightning.probes.linear import LinearProbe
from pcfrl_lightning.probes.metrics import banded_mae, normalized_mean_error
from pcfrl_lightning.probes.results import Metrics

ANGLES = ("yaw", "pitch", "roll")
YAW_BANDS = (0.0, 30.0, 60.0, 180.0)
EYES = {5: (0, 1), 68: (36, 45), 98: (60, 72)}
"""Outer eye corners (eye centres for 5 points) by number of landmarks: CelebA, 300W, WFLW."""


class HeadPoseProbe(LinearProbe):
    """BN + linear, L1 on yaw, pitch and roll in degrees, AdamW 1e-3, label ``pose``.

    The spread of the angles is tens of degrees while a head starts at zero, so an epoch count below about fifty needs a
    higher learning rate than the protocol's.

    Args:
        image_size: evaluation size, pixels.
        lr: one or several learning rates.
        batch_size: samples per step (public code: 128).
        weight_decay: of AdamW.
        **kwargs: see `LinearProbe`.
    """

    task = "head pose"
    monitor = "mae_mean"
    higher_is_better = False

    def __init__(
        self,
        image_size: int = 256,
        lr: float | list[float] = 1e-3,
        batch_size: int = 128,
        weight_decay: float = 0.01,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size=image_size, lr=lr, batch_size=batch_size, weight_decay=weight_decay, **kwargs)

    def outputs(self, faces: FaceSet) -> int:
        """Three angles."""
        return len(ANGLES)

    def targets(self, faces: FaceSet) -> dict[str, Tensor]:
        """(n, 3) degrees.  Raises DataError for NaN or more than 180 degrees."""
        return {"pose": finite_labels(faces, "pose", 180.0, "three angles within +-180 degrees")}

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Mean absolute error of the three angles."""
        return (outputs - targets["pose"]).abs().mean(-1)

    def metrics(self, outputs: Tensor, targets: dict[str, Tensor]) -> Metrics:
        """Mean absolute error in degrees of each angle and their mean, and by band of the true yaw."""
        pose = targets["pose"]
        errors = (outputs - pose).abs().double().mean(0).tolist()
        bands = banded_mae(outputs, pose, pose[:, 0], YAW_BANDS)
        result: Metrics = {f"mae_{angle}": error for angle, error in zip(ANGLES, errors, strict=True)}
        result["mae_mean"] = sum(errors) / len(errors)
        for low, high, error in zip(YAW_BANDS[:-1], YAW_BANDS[1:], bands, strict=True):
            result[f"mae_mean_yaw_{low:.0f}_{high:.0f}"] = error
        return result


class LandmarkProbe(LinearProbe):
    """BN + linear, L1 on landmark coordinates, label ``landmarks`` (n, L, 2) in [0, 1] of the crop.

    The metric is the normalised mean error: mean distance over the distance of the outer eye corners. Where the data
    set has the label ``conditions`` (n, G) 0/1 with names (300W: common, challenging; WFLW: pose, expression, ...), it
    is given for each of these subsets as well.

    Args:
        image_size: evaluation size, pixels.
        lr: one or several learning rates.
        eyes: numbers of the two outer eye corners; default known for 5, 68 and 98 points.
        **kwargs: see `LinearProbe`.
    """

    task = "landmarks"
    monitor = "nme"
    higher_is_better = False

    def __init__(
        self,
        image_size: int = 128,
        lr: float | list[float] = 1e-3,
        eyes: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(image_size=image_size, lr=lr, **kwargs)
        self.eyes = eyes
        self.conditions: list[str] = []

    def outputs(self, faces: FaceSet) -> int:
        """Two coordinates per landmark."""
        return 2 * faces.labels["landmarks"].shape[1]

    def targets(self, faces: FaceSet) -> dict[str, Tensor]:
        """(n, L, 2), and (n, G) subsets; DataError for coordinates far outside the crop or two eyes in one place."""
        landmarks = finite_labels(faces, "landmarks", 10.0, "coordinates as a share of the crop")
        left, right = self._eyes(landmarks.shape[1])
        apart = (landmarks[:, left] - landmarks[:, right]).norm(dim=-1) > 0
        check(faces, "landmarks", apart, f"different places of eye corners {left} and {right}")
        if "conditions" not in faces.labels:
            return {"landmarks": landmarks}
        self.conditions = faces.class_names.get("conditions", [])
        return {"landmarks": landmarks, "conditions": faces.labels["conditions"]}

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Mean absolute error of the coordinates."""
        return (outputs - targets["landmarks"].flatten(1)).abs().mean(-1)

    def metrics(self, outputs: Tensor, targets: dict[str, Tensor]) -> Metrics:
        """Normalised mean error, also by subset, and the share of images above 0.1."""
        truth = targets["landmarks"]
        errors = normalized_mean_error(outputs.view_as(truth), truth, self._eyes(truth.shape[1]))
        found: Metrics = {
            "nme": float(errors.double().mean()),
            "failure_rate_10": float((errors > 0.1).double().mean()),
        }
        for index, name in enumerate(self.conditions):
            mine = errors[targets["conditions"][:, index] > 0]
            if len(mine):
                found[f"nme_{name}"] = float(mine.double().mean())
        return found

    def _eyes(self, count: int) -> tuple[int, int]:
        eyes = self.eyes or EYES.get(count)
        if eyes is None or max(eyes) >= count:
            raise DataError(
                f"outer eye corners of {count} landmarks are not known: set model.eyes to their two numbers"
            )
        return int(eyes[0]), int(eyes[1])
