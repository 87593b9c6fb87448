"""Linear evaluation of frozen features: probes, tasks, feature extraction and its cache."""

from pcfrl_lightning.probes.features.extract import EncoderFeatures, FeatureExtractor
from pcfrl_lightning.probes.features.handmade import HoGFeatures, LBPFeatures, PixelFeatures
from pcfrl_lightning.probes.features.store import FeatureTable, cached_features
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
from pcfrl_lightning.probes.tasks.base import Task

__all__ = [
    "ActionUnitProbe",
    "AttributeProbe",
    "CosineVerification",
    "EncoderFeatures",
    "ExpressionProbe",
    "FeatureExtractor",
    "FeatureTable",
    "HeadPoseProbe",
    "HoGFeatures",
    "ImageProbe",
    "LBPFeatures",
    "LabelProbe",
    "LandmarkProbe",
    "PixelFeatures",
    "PoseClassProbe",
    "Probe",
    "Task",
    "VerificationProbe",
    "cached_features",
]
