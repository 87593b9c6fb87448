"""Linear evaluation of frozen features: probes, tasks, feature extraction and its cache."""

from pcfrl_lightning.probes.labels import LabelProbe
from pcfrl_lightning.probes.probe import Probe
from pcfrl_lightning.probes.published import (
    ActionUnitProbe,
    AttributeProbe,
    CosineVerification,
    ExpressionProbe,
    HeadPoseProbe,
    ImageProbe,
    LandmarkProbe,
    PoseClassProbe,
    VerificationProbe,
)
from pcfrl_lightning.probes.run import measure
from pcfrl_lightning.probes.tasks.base import Task

__all__ = [
    "ActionUnitProbe",
    "AttributeProbe",
    "CosineVerification",
    "ExpressionProbe",
    "HeadPoseProbe",
    "ImageProbe",
    "LabelProbe",
    "LandmarkProbe",
    "PoseClassProbe",
    "Probe",
    "Task",
    "VerificationProbe",
    "measure",
]
