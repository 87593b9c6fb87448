"""Landmarks: linear regression of coordinates, normalised mean error."""

from torch import Tensor

from pcfrl_lightning.data.faceset import FaceSet
from pcfrl_lightning.errors import DataError
from pcfrl_lightning.probes.metrics import normalized_mean_error
from pcfrl_lightning.probes.results import Metrics
from pcfrl_lightning.probes.tasks.base import Task, check, finite_labels

EYES = {5: (0, 1), 68: (36, 45), 98: (60, 72)}
"""Outer eye corners (eye centres for 5 points) by number of landmarks: CelebA, 300W, WFLW."""


class Landmarks(Task):
    """L1 on coordinates, label ``landmarks`` (n, L, 2) in [0, 1] of the crop.

    The metric is the normalised mean error: mean distance over the distance of the outer eye corners. Where the data
    set has the label ``conditions`` (n, G) 0/1 with names (300W: common, challenging; WFLW: pose, expression, ...), it
    is given for each of these subsets as well.

    Args:
        eyes: numbers of the two outer eye corners; default known for 5, 68 and 98 points.
    """

    monitor = "nme"
    higher_is_better = False

    def __init__(self, eyes: tuple[int, int] | None = None) -> None:
        super().__init__("landmarks")
        self.eyes = eyes
        self.conditions: list[str] = []

    def outputs(self, faces: FaceSet) -> int:
        return 2 * faces.labels["landmarks"].shape[1]

    def targets(self, faces: FaceSet) -> dict[str, Tensor]:
        """(n, L, 2), and (n, G) subsets; refuses coordinates far outside the crop and two eyes in one place."""
        landmarks = finite_labels(faces, "landmarks", 10.0, "coordinates as a share of the crop", (None, 2))
        left, right = self._eyes(landmarks.shape[1])
        apart = (landmarks[:, left] - landmarks[:, right]).norm(dim=-1) > 0
        check(faces, "landmarks", apart, f"different places of eye corners {left} and {right}")
        if "conditions" not in faces.labels:
            return {"landmarks": landmarks}
        self.conditions = faces.class_names.get("conditions", [])
        return {"landmarks": landmarks, "conditions": faces.labels["conditions"]}

    def loss(self, outputs: Tensor, targets: dict[str, Tensor]) -> Tensor:
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
