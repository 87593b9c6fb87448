"""What the demo measures: four tasks on synthetic faces, and how often calibrated pairs are right."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from pcfrl_lightning.data.module import FaceData
from pcfrl_lightning.data.views.cpu import AlbumentationsViews
from pcfrl_lightning.evaluate import calibrated_pairs as pairs
from pcfrl_lightning.evaluate.folders import Opened
from pcfrl_lightning.evaluate.run import Announce, Row, Settings, Weights, run_tasks, silent
from pcfrl_lightning.evaluate.tasks import Task
from pcfrl_lightning.methods.pcfrl import PCFRL
from pcfrl_lightning.probes import ActionUnitProbe, CosineVerification, ExpressionProbe, HeadPoseProbe

PROBE_EPOCHS = 60

_RATES = (1e-3, 3e-3, 1e-2, 3e-2)
TASKS: dict[str, Task] = {
    "expression_accuracy": Task("expression", "synthetic", "", ExpressionProbe, 0, "accuracy", lr=_RATES),
    "verification_accuracy": Task("verification", "synthetic", "", CosineVerification, 0, "accuracy"),
    "au_f1": Task("action units", "synthetic", "", ActionUnitProbe, 0, "f1", lr=_RATES[:3]),
    "pose_mae_deg": Task("head pose", "synthetic", "", HeadPoseProbe, 0, "mae_mean", True, "deg", (1e-2, 3e-2, 1e-1)),
}
"""The task behind each key of results.json; the image size is that of pretraining."""

DISENTANGLED = ("verification", "head pose")
"""Tasks on which F_f and F_p are compared: the one wants identity without pose, the other pose without identity."""

AGREE: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "face": ("identity", pairs.identities_agree),
    "pose": ("pose", pairs.poses_agree),
}
"""By branch, the label that makes a calibrated pair right, and whether two values of it agree."""


@dataclass
class Calibration:
    """Right and wrong calibrated pairs of both branches."""

    face: pairs.Tally
    pose: pairs.Tally
    batches: int

    def results(self) -> dict[str, Any]:
        """Precisions and base rates, and the counts behind them."""
        found: dict[str, Any] = {}
        for name, count in (("pose", self.pose), ("face", self.face)):
            found |= {f"{name}_precision": count.precision, f"{name}_base_rate": count.base_rate}
            found |= {f"{name}_pairs": count.pairs, f"{name}_right": count.right, f"{name}_anchors": count.proposals}
            found[f"{name}_precision_without_threshold"] = count.proposal_precision
        found["pose_agrees"] = f"yaw, pitch and roll each within {pairs.POSE_LIMIT:g} degrees"
        return found | {"face_agrees": "the same person", "batches": self.batches}


def measure_probes(data: FaceData, settings: Settings, announce: Announce = silent) -> list[Row]:
    """The four tasks on F_s, untrained and pretrained, in one protocol; pretrained F_f and F_p where they differ."""
    rows: list[Row] = []
    for task in TASKS.values():
        sized = [task._replace(image_size=data.image_size)]
        pretrained = ("f_s", "f_f", "f_p") if task.name in DISENTANGLED else ("f_s",)
        both: tuple[tuple[Weights, tuple[str, ...]], ...] = (("random_init", ("f_s",)), ("pretrained", pretrained))
        for weights, features in both:
            each = replace(settings, feature=features)
            rows += run_tasks(sized, [weights], each, lambda _: Opened(data), announce)
    return rows


def measure_calibration(module: PCFRL, data: FaceData, seed: int = 0) -> Calibration:
    """Run calibration once over the training images in batches of the training size, views without flips.

    A flip changes the true pose; without one the label of the image is that of the view.
    """
    faces = data.splits["train"]
    counts, batches = {name: pairs.Tally() for name in AGREE}, 0
    for batch in pairs.calibrated_batches(module, faces, still(data.views), data.batch_size, seed):
        batches += 1
        for name, (label, agree) in AGREE.items():
            output = batch.branches[name].output
            right = pairs.tally(output.calibration, output.anchors, agree(faces.labels[label][batch.rows]))
            counts[name] = counts[name].plus(right)
    return Calibration(**counts, batches=batches)


def still(views: Any) -> AlbumentationsViews:
    """The same views without flip and turn; ValueError where they are not known to have a switch for that."""
    if not isinstance(views, AlbumentationsViews):
        raise ValueError(f"data.views of the demo must be AlbumentationsViews, got {type(views).__name__}")
    made = (views.image_size or 64, views.appearance, views.crop_scale, views.crop_ratio)
    return AlbumentationsViews(*made, 0.0, 0.0, views.face_transforms, views.pose_transforms)


def results_of(rows: Sequence[Row]) -> dict[str, Any]:
    """``random_init``, ``pretrained`` (both F_s) and ``features`` (F_f and F_p of the pretrained) of results.json.

    A probe that failed is a ValueError that says which and why.
    """
    keys = {task.name: key for key, task in TASKS.items()}
    found: dict[str, Any] = {"random_init": {}, "pretrained": {}, "features": {"f_f": {}, "f_p": {}}}
    for row in rows:
        if row.value is None:
            raise ValueError(f"{row.task.name} ({row.weights}) could not be measured: {row.message}")
        place = found[row.weights] if row.feature == "f_s" else found["features"][row.feature]
        place[keys[row.task.name]] = row.value
    return found
