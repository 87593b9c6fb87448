"""Which pairs of different images are treated as positives (Algorithm 1, and the selectors of Tables 5 and 7).

``score`` (m, M) is any score that grows with similarity, ``candidates`` (m, M) bool is True for views of other images.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Statistic = Literal["mean", "quantile"]


class Calibration(NamedTuple):
    """The pairs a selector proposes for each of m anchors, k per anchor, and which of them it accepts.

    ``partner`` (m, k) long: column of the proposed view; ``accepted`` (m, k) bool; ``score`` (m, k): its score, -inf
    where an anchor has fewer than k candidates; ``threshold``: scalar, the T in force (-inf: none); ``mean`` and
    ``maximum``: scalars, the scores of all candidates of these anchors (for monitoring). k = 0: nothing is
    calibrated.
    """

    partner: Tensor
    accepted: Tensor
    score: Tensor
    threshold: Tensor
    mean: Tensor
    maximum: Tensor


@torch.no_grad()
def top_k_calibration(score: Tensor, candidates: Tensor, k: int) -> Calibration:
    """Accept the k best candidates of every anchor, or all where it has fewer, without a threshold (Table 7)."""
    best, partner = torch.where(candidates, score, -torch.inf).topk(min(k, score.shape[1]), dim=1)
    threshold = score.new_full((), -torch.inf)
    mean = torch.where(candidates, score, 0.0).sum() / candidates.count_nonzero().clamp(min=1)
    return Calibration(partner, best > threshold, best, threshold, mean, best.max())


@torch.no_grad()
def row_maxima(score: Tensor, candidates: Tensor) -> Tensor:
    """Best score of each anchor among its candidates, (m,); -inf where it has none."""
    return torch.where(candidates, score, -torch.inf).amax(dim=1)


@torch.no_grad()
def threshold_calibration(score: Tensor, candidates: Tensor, threshold: float | Tensor) -> Calibration:
    """Propose the best candidate of every anchor and accept it if its score is at least T (Algorithm 1)."""
    best = top_k_calibration(score, candidates, k=1)
    limit = score.new_full((), threshold) if isinstance(threshold, int | float) else threshold.to(score)
    return best._replace(accepted=best.accepted & (best.score >= limit), threshold=limit)


@torch.no_grad()
def no_calibration(score: Tensor, candidates: Tensor) -> Calibration:
    """Propose nothing (k = 0): plain contrastive learning. The score only feeds the mean and the maximum."""
    partner, accepted, best, _, mean, maximum = top_k_calibration(score, candidates, k=1)
    return Calibration(partner[:, :0], accepted[:, :0], best[:, :0], score.new_full((), torch.inf), mean, maximum)


@torch.no_grad()
def adaptive_threshold(maxima: Tensor, statistic: Statistic = "mean", quantile: float = 0.9) -> Tensor:
    """T from the row maxima (M,) of the global batch (section 4.5.4): their mean or a quantile.

    ``quantile`` in [0, 1] is the share of anchors that stay uncalibrated. Anchors without candidates (-inf) do not
    count; +inf (accepts nothing) if no anchor has any. ValueError for another ``statistic``.
    """
    finite = maxima.isfinite()
    if statistic == "mean":
        value = torch.where(finite, maxima, 0.0).sum() / finite.sum()
    elif statistic == "quantile":
        value = torch.nanquantile(torch.where(finite, maxima, torch.nan), quantile)
    else:
        raise ValueError(f"statistic must be 'mean' or 'quantile', got {statistic!r}")
    return torch.where(finite.any(), value, torch.inf)
