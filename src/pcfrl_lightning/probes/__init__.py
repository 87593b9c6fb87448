"""Linear evaluation of frozen features: probes, feature extraction and its cache."""

from pcfrl_lightning.probes.action_units import ActionUnitProbe
from pcfrl_lightning.probes.base import LinearProbe
from pcfrl_lightning.probes.baselines import HoGFeatures, LBPFeatures, PixelFeatures
from pcfrl_lightning.probes.cache import FeatureTable, cached_features
from pcfrl_lightning.probes.classification import ClassificationProbe, ImageProbe, PoseClassProbe
from pcfrl_lightning.probes.expression import ExpressionProbe
from pcfrl_lightning.probes.extractors import FeatureExtractor, NetworkFeatures, RandomNetwork
from pcfrl_lightning.probes.features import FeatureProbe
from pcfrl_lightning.probes.multilabel import AttributeProbe
from pcfrl_lightning.probes.regression import HeadPoseProbe, LandmarkProbe
from pcfrl_lightning.probes.verification import CosineVerification, VerificationProbe

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
