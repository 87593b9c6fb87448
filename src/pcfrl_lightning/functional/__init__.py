"""The equations as pure functions of tensors; see ``pcfrl_lightning.heads`` for the injectable objects."""

from pcfrl_lightning.functional.alignment import (
    Neighborhood,
    alignment_scores,
    cosine_matrix,
    feature_std,
    neighborhood_weight,
    normalize,
    pair_alignment,
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
    contrastive_term,
    log_negatives,
    random_negatives,
    remove_calibrated,
)
from pcfrl_lightning.functional.disentangle import cross_covariance_loss, orthogonality_loss, reconstruction_loss
from pcfrl_lightning.functional.dwa import dwa_ratios, dwa_weights
from pcfrl_lightning.functional.mixing import candidate_columns, mixed_group_similarity, mixed_similarity
from pcfrl_lightning.functional.precision import full_precision
from pcfrl_lightning.functional.sinkhorn import sinkhorn_codes

__all__ = [
    "Calibration",
    "Denominator",
    "Neighborhood",
    "Statistic",
    "adaptive_threshold",
    "alignment_scores",
    "candidate_columns",
    "contrastive_term",
    "cosine_matrix",
    "cross_covariance_loss",
    "dwa_ratios",
    "dwa_weights",
    "feature_std",
    "full_precision",
    "log_negatives",
    "mixed_group_similarity",
    "mixed_similarity",
    "neighborhood_weight",
    "no_calibration",
    "normalize",
    "orthogonality_loss",
    "pair_alignment",
    "random_negatives",
    "reconstruction_loss",
    "remove_calibrated",
    "row_maxima",
    "sinkhorn_codes",
    "threshold_calibration",
    "top_k_calibration",
]
