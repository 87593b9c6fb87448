"""Selectors of calibrated pairs (Algorithm 1 and its ablations), injectable from yaml."""

import math
from abc import ABC, abstractmethod

from torch import Tensor, nn

from pcfrl_lightning import functional as F
from pcfrl_lightning.distributed import all_gather


class Calibrator(nn.Module, ABC):
    """Chooses for each anchor the views of other images that become positives.

    ``alpha`` and ``neighborhood`` define the calibrator's score (pair alignment; alpha = 0 is the cosine). The pair
    terms weight a calibrated pair by the same score.
    """

    alpha: float = 0.0
    neighborhood: F.Neighborhood = "mean"

    def _set_score(self, alpha: float, neighborhood: F.Neighborhood) -> None:
        if not alpha >= 0:
            raise ValueError(f"alpha must be >= 0, got {alpha}")
        if neighborhood not in ("mean", "sum"):
            raise ValueError(f"neighborhood must be 'mean' or 'sum', got {neighborhood!r}")
        self.alpha = alpha
        self.neighborhood = neighborhood

    def score_weight(self, views: int) -> float:
        """The factor of the neighbourhood sum in a global batch of ``views`` rows (0: the score is the cosine)."""
        return F.neighborhood_weight(self.alpha, views, self.neighborhood) if self.alpha else 0.0

    def score(self, anchors: Tensor, context: Tensor, similarity: Tensor) -> Tensor:
        """Score of each anchor (m, d) with each view of the global batch (M, d), unit rows: (m, M)."""
        weight = self.score_weight(len(context))
        return F.alignment_scores(anchors, context, similarity, weight) if weight else similarity

    def begin_epoch(self, epoch: int) -> None:
        """Called before every training epoch (counted from 0), for calibrators whose choice depends on it."""

    @abstractmethod
    def forward(self, anchors: Tensor, context: Tensor, similarity: Tensor, candidates: Tensor) -> F.Calibration:
        """Select pairs; no argument carries a gradient.

        Args:
            anchors: (m, d) unit rows of this rank.
            context: (M, d) unit rows of the global batch.
            similarity: (m, M) their cosines.
            candidates: (m, M) bool, True for the views of other images.
        """


class NPAThreshold(Calibrator):
    """The method: the best candidate by pair alignment, accepted if PA >= threshold (section 3.3).

    Args:
        threshold: T. The paper uses 1; with ``neighborhood: sum`` it has to be hundreds.
        alpha: weight of the neighbourhood consistency in Eq. 4, >= 0; the paper uses 10.
        neighborhood: ``mean`` or ``sum`` over the neighbours of Eq. 5.
    """

    def __init__(self, threshold: float = 1.0, alpha: float = 10.0, neighborhood: F.Neighborhood = "mean") -> None:
        super().__init__()
        if math.isnan(threshold):
            raise ValueError("threshold of NPAThreshold must be a number, got nan: it would accept nothing")
        self._set_score(alpha, neighborhood)
        self.threshold = threshold

    def forward(self, anchors: Tensor, context: Tensor, similarity: Tensor, candidates: Tensor) -> F.Calibration:
        """See :class:`Calibrator`."""
        return F.threshold_calibration(self.score(anchors, context, similarity), candidates, self.threshold)


class CosineThreshold(Calibrator):
    """The best candidate by cosine, accepted if cosine >= threshold (Table 5).

    Args:
        threshold: in [-1, 1]; a higher one could accept nothing.
    """

    def __init__(self, threshold: float) -> None:
        super().__init__()
        if not -1 <= threshold <= 1:
            raise ValueError(f"threshold of CosineThreshold must be in [-1, 1], got {threshold}")
        self.threshold = threshold

    def forward(self, anchors: Tensor, context: Tensor, similarity: Tensor, candidates: Tensor) -> F.Calibration:
        """See :class:`Calibrator`."""
        return F.threshold_calibration(similarity, candidates, self.threshold)


class TopK(Calibrator):
    """The k best candidates by pair alignment, always accepted (Table 7).

    Args:
        k: pairs per anchor, >= 1.
        alpha: as in :class:`NPAThreshold`.
        neighborhood: as in :class:`NPAThreshold`.
    """

    def __init__(self, k: int = 1, alpha: float = 10.0, neighborhood: F.Neighborhood = "mean") -> None:
        super().__init__()
        if k < 1:
            raise ValueError(f"k of TopK must be >= 1, got {k}; use NoCalibration to calibrate nothing")
        self._set_score(alpha, neighborhood)
        self.k = k

    def forward(self, anchors: Tensor, context: Tensor, similarity: Tensor, candidates: Tensor) -> F.Calibration:
        """See :class:`Calibrator`."""
        return F.top_k_calibration(self.score(anchors, context, similarity), candidates, self.k)


class NoCalibration(Calibrator):
    """No calibrated pairs: plain contrastive learning (the PCL and SimCLR rows). Its monitored score is the cosine."""

    def forward(self, anchors: Tensor, context: Tensor, similarity: Tensor, candidates: Tensor) -> F.Calibration:
        """See :class:`Calibrator`."""
        return F.no_calibration(similarity, candidates)


class AdaptiveThreshold(Calibrator):
    """T from the distribution of the row maxima of the global batch (section 4.5.4).

    Args:
        statistic: ``mean`` of the row maxima, or a ``quantile``.
        quantile: in [0, 1], used by ``statistic: quantile``: about 1 - quantile of the anchors get a partner.
        alpha: as in :class:`NPAThreshold`.
        neighborhood: as in :class:`NPAThreshold`.
    """

    def __init__(
        self,
        statistic: F.Statistic = "mean",
        quantile: float = 0.9,
        alpha: float = 10.0,
        neighborhood: F.Neighborhood = "mean",
    ) -> None:
        super().__init__()
        if statistic not in ("mean", "quantile"):
            raise ValueError(f"statistic must be 'mean' or 'quantile', got {statistic!r}")
        if not 0 <= quantile <= 1:
            raise ValueError(f"quantile must be in [0, 1], got {quantile}")
        self._set_score(alpha, neighborhood)
        self.statistic: F.Statistic = statistic
        self.quantile = quantile

    def forward(self, anchors: Tensor, context: Tensor, similarity: Tensor, candidates: Tensor) -> F.Calibration:
        """See :class:`Calibrator`."""
        best = F.top_k_calibration(self.score(anchors, context, similarity), candidates, k=1)
        threshold = F.adaptive_threshold(all_gather(best.score.squeeze(1)), self.statistic, self.quantile)
        return best._replace(accepted=best.accepted & (best.score >= threshold), threshold=threshold)


class DelayedStart(Calibrator):
    """Plain contrastive learning for some epochs, then another calibrator.

    The neighbours of an untrained network are not those of the faces: its features lie in a few dimensions, and T = 1
    accepts nearly every anchor (docs/calibration.md). Pair alignment is logged from the first epoch on.

    Args:
        calibrator: chooses the pairs from ``start_epoch`` on; outside training always.
        start_epoch: the first epoch with calibrated pairs, counted from 0.
    """

    def __init__(self, calibrator: Calibrator, start_epoch: int) -> None:
        super().__init__()
        if start_epoch < 0:
            raise ValueError(f"start_epoch of DelayedStart must be >= 0, got {start_epoch}")
        self._set_score(calibrator.alpha, calibrator.neighborhood)
        self.calibrator = calibrator
        self.start_epoch = start_epoch
        self.waiting = False

    def begin_epoch(self, epoch: int) -> None:
        """Wait before ``start_epoch``; the epoch alone decides, so a resumed run does the same."""
        self.waiting = epoch < self.start_epoch
        self.calibrator.begin_epoch(epoch)

    def forward(self, anchors: Tensor, context: Tensor, similarity: Tensor, candidates: Tensor) -> F.Calibration:
        """See :class:`Calibrator`."""
        if self.waiting:
            return F.no_calibration(self.score(anchors, context, similarity), candidates)
        return self.calibrator(anchors, context, similarity, candidates)
