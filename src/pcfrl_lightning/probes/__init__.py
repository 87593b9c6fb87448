"""Linear evaluation of frozen features: probes, feature extraction and its cache."""

from pcfrl_lightning.probes.features.extract import FeatureExtractor, NetworkFeatures, RandomNetwork
from pcfrl_lightning.probes.features.handmade import HoGFeatures, LBPFeatures, PixelFeatures
from pcfrl_lightning.probes.features.store import FeatureTable, cached_features
from pcfrl_lightning.probes.linear import LinearProbe
from pcfrl_lightning.probes.probe import FeatureProbe
from pcfrl_lightning.probes.tasks.action_units import ActionUnitProbe
from pcfrl_lightning.probes.tasks.classification import ClassificationProbe, ImageProbe, PoseClassProbe
from pcfrl_lightning.probes.tasks.expression import ExpressionProbe
from pcfrl_lightning.probes.tasks.multilabel import AttributeProbe
from pcfrl_lightning.probes.tasks.regression import HeadPoseProbe, LandmarkProbe
from pcfrl_lightning.probes.tasks.verification import CosineVerification, VerificationProbe

__all__ = [
    "ActionUnitProbe",
    "AttributeProbe",
    "ClassificationProbe",
    "CosineVerification",
    "ExpressionProbe",
    "FeatureExtractor",
    "FeatureProbe",
    "FeatureTable",
    "HeadPoseProbe",
    "HoGFeatures",
    "ImageProbe",
    "LBPFeatures",
    "LandmarkProbe",
    "LinearProbe",
    "NetworkFeatures",
    "PixelFeatures",
    "PoseClassProbe",
    "RandomNetwork",
    "VerificationProbe",
    "cached_features",
]
