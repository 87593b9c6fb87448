"""The two parts of the loss of Eq. 6, ``-cos(i, p(i)) / tau + log sum_{k in N(i)} exp(cos(i, k) / tau)``."""

from typing import Literal

import torch
from torch import Tensor

from pcfrl_lightning.functional.calibration import Calibration
from pcfrl_lightning.functional.precision import full_precision

Denominator = Literal["negatives", "all"]


@full_precision
def log_negatives(similarity: Tensor, negatives: Tensor, temperature: float = 0.07) -> Tensor:
    """``log sum_{k in N(i)} exp(cos(i, k) / tau)`` for each anchor, from cosines (m, M) and N (m, M) bool -> (m,).

    An anchor without negatives gives -inf (the log of an empty sum) and a zero gradient;
    ``contrastive_term`` turns it into a zero loss.
    """
    return (similarity / temperature).masked_fill(~negatives, -torch.inf).logsumexp(dim=1)


@full_precision
def contrastive_term(positive: Tensor, log_negative: Tensor, denominator: Denominator = "negatives") -> Tensor:
    """``-positive + log denominator``, elementwise; 0 with zero gradient where there are no negatives.

    Args:
        positive: logits of the positive pairs, cosine / tau, any shape.
        log_negative: result of ``log_negatives``, broadcastable to ``positive``.
        denominator: ``negatives`` as Eq. 6 is printed (the loss can be negative), ``all`` adds the positive (SimCLR).
    """
    if denominator == "negatives":
        return torch.where(log_negative > -torch.inf, log_negative - positive, 0.0)
    if denominator == "all":
        return torch.logaddexp(log_negative, positive) - positive
    raise ValueError(f"denominator must be 'negatives' or 'all', got {denominator!r}")


def remove_calibrated(candidates: Tensor, calibration: Calibration) -> Tensor:
    """Negatives after calibration (Algorithm 1): the candidates (m, M) without each anchor's accepted partners."""
    partner, accepted, *_ = calibration
    return candidates.scatter(1, partner, candidates.gather(1, partner) & ~accepted)


@torch.no_grad()
def random_negatives(negatives: Tensor, k: int, generator: torch.Generator | None = None) -> Tensor:
    """Keep k random negatives of each anchor, all where it has fewer, (m, M) bool -> (m, M) bool.

    Algorithm 1 read literally draws one.
    """
    rank = torch.rand(negatives.shape, device=negatives.device, generator=generator).masked_fill_(~negatives, -1.0)
    chosen = rank.topk(min(k, negatives.shape[1]), dim=1).indices
    return torch.zeros_like(negatives).scatter_(1, chosen, True) & negatives
