"""Scores of pairs and selectors of calibrated pairs (Algorithm 1 and its ablations), injectable from yaml."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from copy import copy

from torch import Tensor, nn

from pcfrl_lightning import functional as F
from pcfrl_lightning.distributed import all_gather
from pcfrl_lightning.errors import require


class Calibrator(nn.Module, ABC):
    """Scores pairs of views, and chooses for each anchor the views of other images that become positives.

    ``score`` is the only score of a head: the choice is made with its values, and every pair term weights a
    calibrated pair by it, with its gradient.

    Attributes:
        by_anchor: whether ``forward`` of what ``of_batch`` gives chooses for each anchor from its own row of the score
            alone, so that a large batch can be computed in blocks.
    """

    by_anchor: bool = False

    def of_batch(self, maxima: Callable[[], Tensor]) -> "Calibrator":
        """The calibrator of a batch that is computed in blocks, where the choice depends on all anchors; else itself.

        Args:
            maxima: computes (m,) the best score of each anchor of this rank; -inf without candidates.
        """
        return self

    def score(self, anchors: Tensor, context: Tensor, similarity: Tensor) -> Tensor:
        """Score of each anchor with each view; here the cosine.

        Args:
            anchors: (m, d) unit rows of this rank, with gradient.
            context: (M, d) unit rows of the global batch, and of the bank where there is one, with gradient.
            similarity: (m, M) their cosines.

        Returns:
            (m, M), higher for a better pair. An anchor's score with itself and with its twin is never used.
        """
        return similarity

    def begin_epoch(self, epoch: int) -> None:
        """Called before every training step with its epoch (from 0), for a choice that depends on it."""

    @abstractmethod
    def forward(self, score: Tensor, candidates: Tensor) -> F.Calibration:
        """Choose pairs.

        Args:
            score: (m, M) from ``score``, without gradient.
            candidates: (m, M) bool, True for the views of other images.
        """


class _Alignment(Calibrator):
    """Scores pairs by pair alignment (Eq. 3)."""

    by_anchor = True

    def __init__(self, alpha: float, neighborhood: F.Neighborhood) -> None:
        super().__init__()
        require(alpha >= 0, f"alpha must be >= 0, got {alpha}")
        F.neighborhood_weight(alpha, 2, neighborhood)  # refuses unknown ones
        self.alpha = alpha
        self.neighborhood: F.Neighborhood = neighborhood

    def score(self, anchors: Tensor, context: Tensor, similarity: Tensor) -> Tensor:
        weight = F.neighborhood_weight(self.alpha, len(context), self.neighborhood)
        return F.alignment_scores(anchors, context, similarity, weight) if weight else similarity


class NPAThreshold(_Alignment):
    """The method: the best candidate by pair alignment, accepted if PA >= threshold (section 3.3).

    Args:
        threshold: T. The paper uses 1; with ``neighborhood: sum`` it has to be hundreds.
        alpha: weight of the neighbourhood consistency in Eq. 3, >= 0; the paper uses 10.
        neighborhood: ``mean`` or ``sum`` over the neighbours of Eq. 5.
    """

    def __init__(self, threshold: float = 1.0, alpha: float = 10.0, neighborhood: F.Neighborhood = "mean") -> None:
        super().__init__(alpha, neighborhood)
        valid = not math.isnan(threshold)
        require(valid, "threshold of NPAThreshold must be a number, got nan: it would accept nothing")
        self.threshold = threshold

    def forward(self, score: Tensor, candidates: Tensor) -> F.Calibration:
        return F.threshold_calibration(score, candidates, self.threshold)


class CosineThreshold(Calibrator):
    """The best candidate by cosine, accepted if cosine >= threshold (Table 5).

    Args:
        threshold: in [-1, 1]; a higher one could accept nothing.
    """

    by_anchor = True

    def __init__(self, threshold: float) -> None:
        super().__init__()
        require(-1 <= threshold <= 1, f"threshold of CosineThreshold must be in [-1, 1], got {threshold}")
        self.threshold = threshold

    def forward(self, score: Tensor, candidates: Tensor) -> F.Calibration:
        return F.threshold_calibration(score, candidates, self.threshold)


class TopK(_Alignment):
    """The k best candidates by pair alignment, always accepted (Table 7).

    Args:
        k: pairs per anchor, >= 1.
        alpha: as in ``NPAThreshold``.
        neighborhood: as in ``NPAThreshold``.
    """

    def __init__(self, k: int = 1, alpha: float = 10.0, neighborhood: F.Neighborhood = "mean") -> None:
        super().__init__(alpha, neighborhood)
        require(k >= 1, f"k of TopK must be >= 1, got {k}; use NoCalibration to calibrate nothing")
        self.k = k

    def forward(self, score: Tensor, candidates: Tensor) -> F.Calibration:
        return F.top_k_calibration(score, candidates, self.k)


class NoCalibration(Calibrator):
    """No calibrated pairs: plain contrastive learning (the PCL and SimCLR rows). Its monitored score is the cosine."""

    by_anchor = True

    def forward(self, score: Tensor, candidates: Tensor) -> F.Calibration:
        return F.no_calibration(score, candidates)


class AdaptiveThreshold(_Alignment):
    """T from the distribution of the row maxima of the global batch (section 4.5.4).

    Args:
        statistic: ``mean`` of the row maxima, or a ``quantile``.
        quantile: in [0, 1], used by ``statistic: quantile``: about 1 - quantile of the anchors get a partner.
        alpha: as in ``NPAThreshold``.
        neighborhood: as in ``NPAThreshold``.
    """

    def __init__(
        self,
        statistic: F.Statistic = "mean",
        quantile: float = 0.9,
        alpha: float = 10.0,
        neighborhood: F.Neighborhood = "mean",
    ) -> None:
        super().__init__(alpha, neighborhood)
        require(statistic in ("mean", "quantile"), f"statistic must be 'mean' or 'quantile', got {statistic!r}")
        require(0 <= quantile <= 1, f"quantile must be in [0, 1], got {quantile}")
        self.statistic: F.Statistic = statistic
        self.quantile = quantile
        self.of_all: Tensor | None = None  # the threshold of a batch that is computed in blocks

    def forward(self, score: Tensor, candidates: Tensor) -> F.Calibration:
        best = F.top_k_calibration(score, candidates, k=1)
        threshold = self._threshold(best.score.squeeze(1)) if self.of_all is None else self.of_all
        return best._replace(accepted=best.accepted & (best.score >= threshold), threshold=threshold)

    def of_batch(self, maxima: Callable[[], Tensor]) -> Calibrator:
        fixed = copy(self)
        fixed.of_all = self._threshold(maxima())
        return fixed

    def _threshold(self, maxima: Tensor) -> Tensor:
        return F.adaptive_threshold(all_gather(maxima), self.statistic, self.quantile)


class DelayedStart(Calibrator):
    """Plain contrastive learning for some epochs, then another calibrator.

    The neighbours of an untrained network are not those of the faces: its features lie in a few dimensions, and T = 1
    accepts nearly every anchor (docs/calibration.md). The score is logged from the first epoch on.

    Args:
        calibrator: scores pairs, and chooses them from ``start_epoch`` on; outside training always.
        start_epoch: the first epoch with calibrated pairs, counted from 0.
    """

    def __init__(self, calibrator: Calibrator, start_epoch: int) -> None:
        super().__init__()
        require(start_epoch >= 0, f"start_epoch of DelayedStart must be >= 0, got {start_epoch}")
        self.calibrator, self.start_epoch = calibrator, start_epoch
        self.by_anchor = calibrator.by_anchor
        self.waiting = False

    def of_batch(self, maxima: Callable[[], Tensor]) -> Calibrator:
        return self if self.waiting else self.calibrator.of_batch(maxima)

    def score(self, anchors: Tensor, context: Tensor, similarity: Tensor) -> Tensor:
        return self.calibrator.score(anchors, context, similarity)

    def begin_epoch(self, epoch: int) -> None:
        # the epoch alone decides, so a resumed run does the same
        self.waiting = epoch < self.start_epoch
        self.calibrator.begin_epoch(epoch)

    def forward(self, score: Tensor, candidates: Tensor) -> F.Calibration:
        return F.no_calibration(score, candidates) if self.waiting else self.calibrator(score, candidates)
