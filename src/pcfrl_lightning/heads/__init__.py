"""Injectable parts of the calibrated contrastive losses: calibrators, pair terms, negatives and the head."""

from pcfrl_lightning.heads.calibrators import (
    AdaptiveThreshold,
    Calibrator,
    CosineThreshold,
    DelayedStart,
    NoCalibration,
    NPAThreshold,
    TopK,
)
from pcfrl_lightning.heads.contrast import CalibratedContrast, ContrastOutput, RowContrast, named_of_both, other_images
from pcfrl_lightning.heads.negatives import (
    AllNegatives,
    Context,
    JoinedNegatives,
    MirroredNegatives,
    MixedNegatives,
    Negatives,
    RandomNegatives,
)
from pcfrl_lightning.heads.pair_terms import (
    AlignmentOnly,
    Attention,
    CalibratedPairs,
    CosineOnly,
    Eq7,
    ExponentWeight,
    LossWeight,
    OnlyRemoved,
    PairTerm,
)

__all__ = [
    "AdaptiveThreshold",
    "AlignmentOnly",
    "AllNegatives",
    "Attention",
    "CalibratedContrast",
    "CalibratedPairs",
    "Calibrator",
    "Context",
    "ContrastOutput",
    "CosineOnly",
    "CosineThreshold",
    "DelayedStart",
    "Eq7",
    "ExponentWeight",
    "JoinedNegatives",
    "LossWeight",
    "MirroredNegatives",
    "MixedNegatives",
    "NPAThreshold",
    "Negatives",
    "NoCalibration",
    "OnlyRemoved",
    "PairTerm",
    "RandomNegatives",
    "RowContrast",
    "TopK",
    "named_of_both",
    "other_images",
]
