"""Cosine similarity and neighbourhood-aware pair alignment (Eq. 3-5), in closed form.

With unit rows ``V``, ``S = V V^T`` and ``G = V^T V``, the neighbourhood consistency of Eq. 5,
``NS_ij = sum over k not in {i, j} of S_ik S_kj``, is ``S^2 - 2 S`` off the diagonal, so pair alignment is one bilinear
form ``V [(1 - 2a) I + a G] V^T``: no triple loop, no third dimension.
"""

from typing import Literal

import torch
from torch import Tensor

from pcfrl_lightning.errors import require
from pcfrl_lightning.functional.precision import full_precision

Neighborhood = Literal["mean", "sum"]
_TINY_SQUARE = 1e-24  # a row shorter than 1e-12 counts as zero


@full_precision
def normalize(features: Tensor) -> Tensor:
    """L2-normalise the rows of ``features`` (..., d).

    A zero row stays zero and gets a zero gradient (dividing by a small epsilon would give it one of 1e12).
    """
    return features * inverse_length(features.square().sum(dim=-1, keepdim=True))


def inverse_length(square: Tensor) -> Tensor:
    """``1 / sqrt(square)`` elementwise, 0 with zero gradient where the square is nearly 0."""
    nonzero = square > _TINY_SQUARE
    return torch.where(nonzero, torch.where(nonzero, square, 1.0).rsqrt(), 0.0)


def feature_std(rows: Tensor) -> Tensor:
    """Standard deviation of unit rows (n, d), mean over the d numbers: 0 after a collapse, up to ``d ** -0.5``."""
    return (rows - rows.mean(dim=0)).norm(dim=0).mean() / len(rows) ** 0.5


@full_precision
def cosine_matrix(features: Tensor, context: Tensor | None = None) -> Tensor:
    """Cosines of the rows of ``features`` (m, d) with those of ``context`` (M, d), default itself: (m, M)."""
    unit = normalize(features)
    return unit @ (unit if context is None else normalize(context)).T


def neighborhood_weight(alpha: float, views: int, neighborhood: Neighborhood = "mean") -> float:
    """The factor in front of the sum of Eq. 5 in a batch of ``views`` = 2N rows; 0 for two, which have no neighbours.

    ``mean`` (default) gives alpha / (2N - 2), so that PA and its threshold hardly depend on the batch size; ``sum``
    gives alpha, as Eq. 3 and 5 are printed. ValueError for another ``neighborhood``.
    """
    require(neighborhood in ("mean", "sum"), f"neighborhood must be 'mean' or 'sum', got {neighborhood!r}")
    if views <= 2:
        return 0.0
    return alpha / (views - 2) if neighborhood == "mean" else alpha


@full_precision
def alignment_scores(anchors: Tensor, context: Tensor, similarity: Tensor, weight: float) -> Tensor:
    """Pair alignment of some rows with the whole batch, Eq. 3: ``(1 - 2a) S + a V_anchors G V^T``.

    Args:
        anchors: (m, d) unit rows, e.g. the views on this rank.
        context: (M, d) unit rows of the global batch, the anchors included.
        similarity: (m, M) ``anchors @ context.T``, which the caller has anyway.
        weight: a, from ``neighborhood_weight``.

    Returns:
        (m, M). The entry of an anchor with itself follows the same expression and has no meaning.

    The product of three factors is associative; the cheapest order is taken: ``S S`` costs M^3 and beats the bound
    ``2 M d^2 + M^2 d`` when M < 2d; ``(S V) V^T`` needs 2 m M d and wins when few anchors meet a large batch.
    """
    m, d = anchors.shape
    size = context.shape[0]
    by_gram, by_rows = size * d * d + m * d * d + m * size * d, 2 * m * size * d
    if m == size and size < 2 * d:
        left, right = similarity, similarity
    elif by_rows < by_gram:
        left, right = similarity @ context, context.T
    else:
        left, right = anchors @ (context.T @ context), context.T
    # one fused product: no (m, M) temporary besides the result
    return torch.addmm(similarity, left, right, beta=1 - 2 * weight, alpha=weight)


@full_precision
def pair_alignment(features: Tensor, alpha: float = 10.0, neighborhood: Neighborhood = "mean") -> Tensor:
    """Neighbourhood-aware pair alignment PA of all pairs of views (Eq. 3-5).

    Args:
        features: (M, d), the M = 2N views of a batch; normalised here.
        alpha: weight of the neighbourhood consistency; 0 gives the cosine matrix.
        neighborhood: ``mean`` divides the sum of Eq. 5 by its M - 2 terms (PA of order 1 at any batch size),
            ``sum`` is Eq. 5 as printed.

    Returns:
        (M, M), symmetric, float32 (float64 for float64 input). The diagonal has no meaning: Eq. 3 is for pairs of
        different views.

    Example:
        >>> v = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
        >>> round(pair_alignment(v, alpha=1.0)[0, 2].item(), 4)  # 0.0 + 1 * (0.6 * 0.8)
        0.48
    """
    unit = normalize(features)
    return alignment_scores(unit, unit, unit @ unit.T, neighborhood_weight(alpha, len(unit), neighborhood))
