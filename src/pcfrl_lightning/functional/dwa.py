"""Dynamic weight average of the branch losses (Eq. 8; Liu et al. 2019), safe for losses that cross zero."""

import torch
from torch import Tensor

from pcfrl_lightning.errors import require

RATIO_LIMIT = 5.0
_NEAR_ZERO = 1e-6


@torch.no_grad()
def dwa_ratios(previous: Tensor, before_previous: Tensor, limit: float = RATIO_LIMIT) -> tuple[Tensor, Tensor]:
    """Loss ratios r_k(t - 1) = Lbar_k(t - 1) / Lbar_k(t - 2) and where a bound acted.

    Args:
        previous: (K,) epoch means of epoch t - 1, over all ranks.
        before_previous: (K,) epoch means of epoch t - 2.
        limit: highest ratio let through; a loss that grows more than this in an epoch is not a trend.

    Returns:
        ratios (K,) in (0, limit] and bounded (K,) bool.

    A ratio says how fast a loss falls only while the loss is positive. Eq. 6 can be negative, so: if either mean is
    below 1e-6 or not finite, the ratio is 1 (that task shows no trend) and ``bounded`` is True.
    """
    shapes = tuple(previous.shape), tuple(before_previous.shape)
    require(
        previous.ndim == 1 and shapes[0] == shapes[1],
        f"dwa needs two (K,) tensors of epoch means, got {shapes[0]} and {shapes[1]}",
    )
    means = torch.stack([previous, before_previous])
    usable = (means.isfinite() & (means >= _NEAR_ZERO)).all(dim=0)
    ratio = torch.where(usable, previous, 1.0) / torch.where(usable, before_previous, 1.0)
    return ratio.clamp(max=limit), ~usable | (ratio > limit)


@torch.no_grad()
def dwa_weights(
    previous: Tensor, before_previous: Tensor, temperature: float = 2.0, limit: float = RATIO_LIMIT
) -> Tensor:
    """Weights of K tasks: ``K exp(r_k / temperature) / sum_j exp(r_j / temperature)``, (K,), summing to K.

    A task whose loss falls more slowly (higher ratio) gets more weight. For the first two epochs, which have no two
    predecessors, the caller uses 1. Arguments and errors as of ``dwa_ratios``, and ``temperature`` > 0.

    Example:
        >>> dwa_weights(torch.tensor([4.6, 4.7]), torch.tensor([5.2, 4.9]))  # face, pose
        tensor([0.9814, 1.0186])
    """
    require(temperature > 0, f"dwa temperature must be > 0, got {temperature}")
    ratios, _ = dwa_ratios(previous, before_previous, limit)
    return len(ratios) * torch.softmax(ratios / temperature, dim=0)
