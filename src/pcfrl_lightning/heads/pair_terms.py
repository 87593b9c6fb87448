"""The loss of a calibrated pair (Eq. 7 and its variants, Table 8), injectable from yaml."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

from torch import Tensor, nn

from pcfrl_lightning import functional as F


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


class PairTerm(nn.Module, ABC):
    """Loss of each proposed pair; the head averages it over the accepted ones."""

    @abstractmethod
    def forward(self, pairs: CalibratedPairs) -> Tensor:
        """Loss of every proposed pair, (m, k)."""


class _Weighted(PairTerm):
    """A term with a weight w = beta times the calibrator's score."""

    term: ClassVar[Callable[..., Tensor]]

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        if not beta > 0:
            raise ValueError(f"beta must be > 0, got {beta}")
        self.beta = beta

    def forward(self, pairs: CalibratedPairs) -> Tensor:
        return type(self).term(
            pairs.cosine, pairs.alignment, pairs.log_negative, self.beta, pairs.temperature, pairs.denominator
        )


class Eq7(_Weighted):
    """Eq. 7 as printed, ``-log(beta PA) + contrastive term``, with the gradient through PA.

    Args:
        beta: > 0; the paper uses 0.2 for pose and 1 for face. It changes no gradient (it is an additive constant inside
            the logarithm) and reaches training only through the DWA ratios.
    """

    term = staticmethod(F.eq7_term)


class LossWeight(_Weighted):
    """What the prose below Eq. 7 describes: ``beta PA * contrastive term``, the weight without gradient.

    Args:
        beta: > 0; scales the gradient of calibrated pairs.
    """

    term = staticmethod(F.loss_weight_term)


class ExponentWeight(_Weighted):
    """The positive logit is ``beta PA * cos / tau``, the weight without gradient.

    Args:
        beta: > 0.
    """

    term = staticmethod(F.exponent_term)


class CosineOnly(PairTerm):
    """Table 8, cosine: a calibrated partner is a positive like any other (weight 1)."""

    def forward(self, pairs: CalibratedPairs) -> Tensor:
        return F.cosine_term(pairs.cosine, pairs.log_negative, pairs.temperature, pairs.denominator)


class AlignmentOnly(PairTerm):
    """Table 8, alignment: the positive logit is ``PA / tau``, with the gradient through PA."""

    def forward(self, pairs: CalibratedPairs) -> Tensor:
        return F.npa_term(pairs.alignment, pairs.log_negative, pairs.temperature, pairs.denominator)


class Attention(PairTerm):
    """Table 8, attention: weight = softmax over all candidates of ``cos / temperature``, at the calibrated partner.

    Args:
        temperature: of the attention softmax, > 0; independent of the loss's tau.
    """

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature of Attention must be > 0, got {temperature}")
        self.temperature = temperature

    def forward(self, pairs: CalibratedPairs) -> Tensor:
        normalizer = F.log_negatives(pairs.similarity, pairs.candidates, self.temperature).unsqueeze(1)
        weight = F.attention_weights(pairs.cosine, normalizer, self.temperature)
        return F.attention_term(pairs.cosine, weight, pairs.log_negative, pairs.temperature, pairs.denominator)
