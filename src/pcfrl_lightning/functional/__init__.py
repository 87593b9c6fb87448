"""The equations as pure functions of tensors; see :mod:`pcfrl_lightning.heads` for the injectable objects."""

from pcfrl_lightning.functional.alignment import (
    Neighborhood,
    alignment_scores,
    cosine_matrix,
    neighborhood_consistency,
    neighborhood_weight,
    normalize,
    pair_alignment,
)
from pcfrl_lightning.functional.calibrated import (
    ALIGNMENT_FLOOR,
    attention_term,
    attention_weights,
    cosine_term,
    eq7_term,
    exponent_term,
    loss_weight_term,
    npa_term,
)
from pcfrl_lightning.functional.calibration import (
    Calibration,
    Statistic,
    adaptive_threshold,
    no_calibration,
    row_maxima,
    threshold_calibration,
    top_k_calibration,
)
from pcfrl_lightning.functional.contrastive import (
    Denominator,
    contrastive_loss,
    contrastive_term,
    log_negatives,
    random_negatives,
    remove_calibrated,
)
from pcfrl_lightning.functional.disentangle import cross_covariance_loss, orthogonality_loss, reconstruction_loss
from pcfrl_lightning.functional.dwa import dwa_ratios, dwa_weights
from pcfrl_lightning.functional.mixing import candidate_columns, mixed_group_similarity, mixed_similarity
from pcfrl_lightning.functional.precision import full_precision, upcast

__all__ = [
    "ALIGNMENT_FLOOR",
    "Calibration",
    "Denominator",
    "Neighborhood",
    "Statistic",
    "adaptive_threshold",
    "alignment_scores",
    "attention_term",
    "attention_weights",
    "candidate_columns",
    "contrastive_loss",
    "contrastive_term",
    "cosine_matrix",
    "cosine_term",
    "cross_covariance_loss",
    "dwa_ratios",
    "dwa_weights",
    "eq7_term",
    "exponent_term",
    "full_precision",
    "log_negatives",
    "loss_weight_term",
    "mixed_group_similarity",
    "mixed_similarity",
    "neighborhood_consistency",
    "neighborhood_weight",
    "no_calibration",
    "normalize",
    "npa_term",
    "orthogonality_loss",
    "pair_alignment",
    "random_negatives",
    "reconstruction_loss",
    "remove_calibrated",
    "row_maxima",
    "threshold_calibration",
    "top_k_calibration",
    "upcast",
]
