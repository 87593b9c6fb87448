"""The loss of a calibrated pair (Eq. 7), one function per variant of the weighting and of the positive similarity.

Common arguments: ``cosine`` (m, k) of the anchors with their calibrated partners, ``log_negative`` (m, 1) from
:func:`~pcfrl_lightning.functional.log_negatives`, ``temperature`` tau, ``denominator`` as in Eq. 6; ``alignment`` or
``weight`` is (m, k). All return (m, k); anchors without negatives give 0 with zero gradient.
"""

import torch
from torch import Tensor

from pcfrl_lightning.functional.contrastive import Denominator, contrastive_term
from pcfrl_lightning.functional.precision import full_precision

ALIGNMENT_FLOOR = 1e-6
"""PA is clamped to this before it becomes a weight: top-k or T <= 0 can accept a pair of negative alignment."""


@full_precision
def eq7_term(
    cosine: Tensor,
    alignment: Tensor,
    log_negative: Tensor,
    beta: float,
    temperature: float = 0.07,
    denominator: Denominator = "negatives",
) -> Tensor:
    """Eq. 7 as printed: ``-log(beta PA) - cos / tau + log sum_N exp(cos / tau)``, gradient through ``alignment`` too.

    Inside the logarithm beta is an additive constant: it changes the value (and so the DWA ratios) but no gradient.
    The clamp acts on PA and not on beta PA, so that this holds everywhere.
    """
    term = contrastive_term(cosine / temperature, log_negative, denominator)
    log_weight = (beta * alignment.clamp(min=ALIGNMENT_FLOOR)).log()
    return torch.where(log_negative > -torch.inf, term - log_weight, 0.0)


@full_precision
def loss_weight_term(
    cosine: Tensor,
    alignment: Tensor,
    log_negative: Tensor,
    beta: float,
    temperature: float = 0.07,
    denominator: Denominator = "negatives",
) -> Tensor:
    """What the prose below Eq. 7 describes: ``w (-cos / tau + log sum_N exp(cos / tau))``, w = beta PA detached."""
    weight = beta * alignment.detach().clamp(min=ALIGNMENT_FLOOR)
    return weight * contrastive_term(cosine / temperature, log_negative, denominator)


@full_precision
def exponent_term(
    cosine: Tensor,
    alignment: Tensor,
    log_negative: Tensor,
    beta: float,
    temperature: float = 0.07,
    denominator: Denominator = "negatives",
) -> Tensor:
    """The weight inside the positive logit: ``-w cos / tau + log sum_N exp(cos / tau)``, w = beta PA without gradient.

    w is detached: otherwise the loss could be lowered by inflating PA of pairs that are already alike.
    """
    weight = beta * alignment.detach().clamp(min=ALIGNMENT_FLOOR)
    return contrastive_term(weight * cosine / temperature, log_negative, denominator)


@full_precision
def cosine_term(
    cosine: Tensor, log_negative: Tensor, temperature: float = 0.07, denominator: Denominator = "negatives"
) -> Tensor:
    """Table 8, cosine similarity only: Eq. 6 with the calibrated partner as the positive (w = 1)."""
    return contrastive_term(cosine / temperature, log_negative, denominator)


@full_precision
def npa_term(
    alignment: Tensor, log_negative: Tensor, temperature: float = 0.07, denominator: Denominator = "negatives"
) -> Tensor:
    """Table 8, alignment only: PA / tau is the positive logit, with gradient; it is not bounded by 1 / tau."""
    return contrastive_term(alignment / temperature, log_negative, denominator)


@torch.no_grad()
def attention_weights(cosine: Tensor, log_candidates: Tensor, temperature: float = 0.07) -> Tensor:
    """Attention of each anchor on its calibrated partners: softmax of cos / temperature over ALL its candidates.

    Args:
        cosine: (m, k) with the calibrated partners.
        log_candidates: (m, 1) ``log sum over candidates of exp(cos / temperature)`` (the softmax's denominator).
        temperature: of this softmax.

    Returns:
        (m, k) in [0, 1], no gradient; the weights of one anchor sum to at most 1.
    """
    return (cosine / temperature - log_candidates).clamp(max=0.0).exp()


@full_precision
def attention_term(
    cosine: Tensor,
    weight: Tensor,
    log_negative: Tensor,
    temperature: float = 0.07,
    denominator: Denominator = "negatives",
) -> Tensor:
    """Table 8, attention-based: ``weight * (-cos / tau + log sum_N exp(cos / tau))``, weight from attention, detached.

    The paper names the scheme (after SNCLR) without a formula. Read here as: a calibrated partner is a soft positive
    that counts as much as the anchor attends to it among all views of other images.
    """
    return weight.detach() * contrastive_term(cosine / temperature, log_negative, denominator)
