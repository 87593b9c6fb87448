"""The loss of a calibrated pair (Eq. 7 and its variants, Table 8), injectable from yaml."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pcfrl_lightning import functional as F
from pcfrl_lightning.errors import require

ALIGNMENT_FLOOR = 1e-6
"""PA is clamped to this before it becomes a weight: top-k or T <= 0 can accept a pair of negative alignment."""


class CalibratedPairs(NamedTuple):
    """What a pair term may use, for m anchors and k proposed partners each.

    ``cosine`` (m, k) and ``alignment`` (m, k), the calibrator's score, with gradient; ``log_negative`` (m, 1) with
    gradient; ``similarity`` (m, M) without gradient; ``candidates`` (m, M) bool; ``temperature`` tau; ``denominator``
    of the contrastive term.
    """

    cosine: Tensor
    alignment: Tensor
    log_negative: Tensor
    similarity: Tensor
    candidates: Tensor
    temperature: float
    denominator: F.Denominator

    def contrast(self, positive: Tensor) -> Tensor:
        """Eq. 6 of pairs of similarity ``positive`` (m, k), before it is divided by tau; 0 without negatives."""
        return F.contrastive_term(positive / self.temperature, self.log_negative, self.denominator)


class PairTerm(nn.Module, ABC):
    """Loss of each proposed pair; the head averages it over the accepted ones."""

    @abstractmethod
    def forward(self, pairs: CalibratedPairs) -> Tensor:
        """Loss of every proposed pair, (m, k)."""


class _Weighted(PairTerm):
    """A term with a weight w = beta PA."""

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        require(beta > 0, f"beta must be > 0, got {beta}")
        self.beta = beta

    def weight(self, pairs: CalibratedPairs) -> Tensor:
        # clamped before the product, so that beta changes no gradient of Eq. 7 anywhere
        return self.beta * pairs.alignment.clamp(min=ALIGNMENT_FLOOR)


class Eq7(_Weighted):
    """Eq. 7 as printed, ``-log(beta PA) - cos / tau + log sum_N exp(cos / tau)``, with the gradient through PA.

    Args:
        beta: > 0; the paper uses 0.2 for pose and 1 for face. It changes no gradient (it is an additive constant inside
            the logarithm) and reaches training only through the DWA ratios.
    """

    def forward(self, pairs: CalibratedPairs) -> Tensor:
        term = pairs.contrast(pairs.cosine) - self.weight(pairs).log()
        return torch.where(pairs.log_negative > -torch.inf, term, 0.0)


class LossWeight(_Weighted):
    """What the prose below Eq. 7 describes: ``beta PA * contrastive term``, the weight without gradient.

    Args:
        beta: > 0; scales the gradient of calibrated pairs.
    """

    def forward(self, pairs: CalibratedPairs) -> Tensor:
        return self.weight(pairs).detach() * pairs.contrast(pairs.cosine)


class ExponentWeight(_Weighted):
    """The positive logit is ``beta PA * cos / tau``. The weight has no gradient: otherwise the loss could be lowered by
    inflating PA of pairs that are already alike.

    Args:
        beta: > 0.
    """

    def forward(self, pairs: CalibratedPairs) -> Tensor:
        return pairs.contrast(self.weight(pairs).detach() * pairs.cosine)


class CosineOnly(PairTerm):
    """Table 8, cosine: a calibrated partner is a positive like any other (weight 1)."""

    def forward(self, pairs: CalibratedPairs) -> Tensor:
        return pairs.contrast(pairs.cosine)


class OnlyRemoved(PairTerm):
    """Table 6, NPA without L': a calibrated partner is no negative, and no positive either."""

    def forward(self, pairs: CalibratedPairs) -> Tensor:
        return torch.zeros_like(pairs.cosine)


class AlignmentOnly(PairTerm):
    """Table 8, alignment: the positive logit is ``PA / tau``, not bounded by 1 / tau, with the gradient through PA."""

    def forward(self, pairs: CalibratedPairs) -> Tensor:
        return pairs.contrast(pairs.alignment)


class Attention(PairTerm):
    """Table 8, attention: weight = softmax over all candidates of ``cos / temperature``, at the calibrated partner.

    The paper names the scheme (after SNCLR) without a formula. Read here as: a calibrated partner is a soft positive
    that counts as much as the anchor attends to it among all views of other images.

    Args:
        temperature: of the attention softmax, > 0; independent of the loss's tau.
    """

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        require(temperature > 0, f"temperature of Attention must be > 0, got {temperature}")
        self.temperature = temperature

    def forward(self, pairs: CalibratedPairs) -> Tensor:
        return self.weight(pairs) * pairs.contrast(pairs.cosine)

    @torch.no_grad()
    def weight(self, pairs: CalibratedPairs) -> Tensor:
        """(m, k) in [0, 1]; those of one anchor sum to at most 1."""
        total = F.log_negatives(pairs.similarity, pairs.candidates, self.temperature).unsqueeze(1)
        return (pairs.cosine / self.temperature - total).clamp(max=0.0).exp()
