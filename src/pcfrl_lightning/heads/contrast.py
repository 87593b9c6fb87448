"""One calibrated contrastive branch: gather over ranks, calibration (Algorithm 1), Eq. 6 and Eq. 7."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from pcfrl_lightning import functional as F
from pcfrl_lightning.distributed import all_gather, all_reduce_sum, rank, world_size
from pcfrl_lightning.heads.calibrators import Calibrator
from pcfrl_lightning.heads.negatives import AllNegatives, Negatives, Views
from pcfrl_lightning.heads.pair_terms import CalibratedPairs, PairTerm

CalibratedMean = Literal["pairs", "anchors"]


class ContrastOutput(NamedTuple):
    """Result of a branch.

    ``loss``: Eq. 6, ``calibrated_loss``: Eq. 7, scalars whose mean over ranks is the value of the global batch;
    ``stats``: detached scalars of the global batch; ``calibration``: rows are the anchors of this rank, partners are
    global columns; ``anchors`` (m,) long: global column of each anchor (column c shows image c % N).
    """

    loss: Tensor
    calibrated_loss: Tensor
    stats: dict[str, Tensor]
    calibration: F.Calibration
    anchors: Tensor

    def named(self, prefix: str) -> dict[str, Tensor]:
        """Losses and statistics for the log, under ``prefix/``."""
        losses = {"loss": self.loss, "calibrated_loss": self.calibrated_loss}
        return {f"{prefix}/{name}": value for name, value in (losses | self.stats).items()}


class CalibratedContrast(nn.Module):
    """Contrastive loss of Eq. 6 with the calibrated pairs of Eq. 7, on the global batch. It has no parameters.

    Args:
        calibrator: selects the calibrated pairs.
        pair_term: the loss of a calibrated pair.
        temperature: tau > 0 (paper 0.07).
        denominator: ``negatives`` (Eq. 6 as printed) or ``all`` (the positive too, as SimCLR and the public code).
        negatives: what fills the denominator; default all uncalibrated views of other images.
        calibrated_mean: what the sum of Eq. 7 over the calibrated set C is divided by: ``pairs`` (the size of C, so a
            few pairs weigh as much as the whole batch) or ``anchors`` (2N as in Eq. 6, so each pair weighs as much as
            an ordinary one).

    Raises:
        ValueError: for a hyper-parameter out of range; at the first batch, if it holds fewer than two images.
    """

    def __init__(
        self,
        calibrator: Calibrator,
        pair_term: PairTerm,
        temperature: float = 0.07,
        denominator: F.Denominator = "negatives",
        negatives: Negatives | None = None,
        calibrated_mean: CalibratedMean = "pairs",
    ) -> None:
        super().__init__()
        if not temperature > 0:
            raise ValueError(f"temperature must be > 0, got {temperature}")
        if denominator not in ("negatives", "all"):
            raise ValueError(f"denominator must be 'negatives' or 'all', got {denominator!r}")
        if calibrated_mean not in ("pairs", "anchors"):
            raise ValueError(f"calibrated_mean must be 'pairs' or 'anchors', got {calibrated_mean!r}")
        self.calibrator = calibrator
        self.pair_term = pair_term
        self.temperature = temperature
        self.denominator: F.Denominator = denominator
        self.negatives = negatives if negatives is not None else AllNegatives()
        self.calibrated_mean: CalibratedMean = calibrated_mean

    def forward(self, first: Tensor, second: Tensor, mirrored: Tensor | None = None) -> ContrastOutput:
        """Losses of the two views (n, d) each, as this rank's projector gave them (not normalised), and of K mirrored
        views (n, K, d) of each image for :class:`MirroredNegatives`.

        The anchors are the 2n views of this rank, their negatives and neighbours the M = 2N views of all ranks, which
        must hold equally many images.
        """
        with torch.autocast(first.device.type, enabled=False):
            views, anchors = self._gather(first, second)
            if mirrored is not None:
                views = views._replace(mirrored=F.upcast(mirrored))
            images = len(views.context) // 2
            columns = torch.arange(2 * images, device=first.device)
            candidates = (columns % images) != (views.anchor_index % images).unsqueeze(1)
            with torch.no_grad():
                calibration = self.calibrator(
                    anchors.detach(), views.context.detach(), views.similarity.detach(), candidates
                )
            return self._losses(views, anchors, candidates, calibration)

    @staticmethod
    def _gather(first: Tensor, second: Tensor) -> tuple[Views, Tensor]:
        """Views of all ranks, [first views, second views], each in rank order; and the unit rows of our anchors."""
        if first.ndim != 2 or first.shape != second.shape:
            raise ValueError(f"two views of one shape (n, d) needed, got {tuple(first.shape)}, {tuple(second.shape)}")
        n, ranks = len(first), world_size()
        if n * ranks < 2:
            raise ValueError("a contrastive loss needs at least two images in the global batch; raise batch_size")
        own = rank() * n + torch.arange(n, device=first.device)
        index = torch.cat([own, own + ranks * n])
        if ranks == 1:
            context, length, similarity = F.batch_cosines(first, second)
            return Views(context, length, index, similarity), context
        local = torch.stack([F.upcast(first), F.upcast(second)]).unsqueeze(0)  # (1, 2, n, d)
        features = all_gather(local).transpose(0, 1).flatten(0, 2)  # (W, 2, n, d) -> (2 W n, d)
        context = F.normalize(features)
        anchors = context.index_select(0, index)
        return Views(context, features.norm(dim=1), index, anchors @ context.T), anchors

    def _losses(self, views: Views, anchors: Tensor, candidates: Tensor, calibration: F.Calibration) -> ContrastOutput:
        positive, cosine, alignment = self._pair_scores(views, anchors, calibration)
        remaining = F.remove_calibrated(candidates, calibration)
        log_negative = self.negatives(views, remaining, self.temperature)
        loss = F.contrastive_term(positive / self.temperature, log_negative, self.denominator).mean()
        term = self.pair_term(
            CalibratedPairs(
                cosine,
                alignment,
                log_negative.unsqueeze(1),
                views.similarity.detach(),
                candidates,
                self.temperature,
                self.denominator,
            )
        )
        stats = _statistics(views, anchors, positive, cosine, calibration)
        # the sum over this rank's pairs, scaled so that the MEAN over ranks is the mean of the global batch
        total = torch.where(calibration.accepted, term, 0.0).sum()
        if self.calibrated_mean == "pairs":
            calibrated_loss = total * world_size() / stats["calibrated"].clamp(min=1)
        else:
            calibrated_loss = total / len(anchors)  # 2N / W of them on each rank
        return ContrastOutput(loss, calibrated_loss, stats, calibration, views.anchor_index)

    def _pair_scores(self, views: Views, anchors: Tensor, calibration: F.Calibration) -> tuple[Tensor, Tensor, Tensor]:
        """Cosine with the twin (m,), and of each proposal the cosine (m, k) and the score (m, k).

        Both cosines carry a gradient, the score only if the pair term uses it.
        """
        partner, accepted, score, *_ = calibration
        size, (m, d) = len(views.context), anchors.shape
        weight = self.calibrator.score_weight(size)
        scored = self.pair_term.alignment_gradient and partner.shape[1] > 0
        if m == size and size <= 4 * d:
            twin = torch.arange(m, device=anchors.device).roll(m // 2).unsqueeze(1)
            neighbors = partner if scored and weight else partner[:, :0]
            cosines, products = F.chosen_pairs(views.similarity, torch.cat([twin, partner], dim=1), neighbors)
            positive, cosine = cosines[:, 0], cosines[:, 1:]
            alignment = (1 - 2 * weight) * cosine + weight * products if len(neighbors.T) else cosine
        else:  # in a larger batch the traffic on (M, M) outweighs the products it saves
            first, second = anchors.chunk(2)
            positive = (first * second).sum(dim=-1).repeat(2)  # the twin of a local anchor is local
            partners = views.context.index_select(0, partner.flatten()).view(m, -1, d)
            alignment = cosine = (anchors.unsqueeze(1) * partners).sum(dim=-1)
            if scored and weight:
                neighborhood = all_reduce_sum(anchors.T @ anchors)
                alignment = F.selected_alignment(anchors, partners, neighborhood, cosine, weight)
        return positive, cosine, torch.where(accepted, alignment if scored else score, 1.0)  # no -inf in a masked term


@torch.no_grad()
def _statistics(
    views: Views,
    anchors: Tensor,
    positive: Tensor,
    cosine: Tensor,
    calibration: F.Calibration,
) -> dict[str, Tensor]:
    """Detached scalars of the global batch, from one small gather and no (m, M) temporary."""
    accepted = calibration.accepted.sum()
    pairs = len(anchors) * (len(views.context) - 2)
    # every cosine of an anchor minus itself, its twin and its calibrated partners leaves its negatives
    others = anchors @ views.context.sum(dim=0) - anchors.square().sum(dim=1) - positive
    negative = others - torch.where(calibration.accepted, cosine, 0.0).sum(dim=1)
    local = [
        accepted,
        calibration.mean,
        calibration.maximum,
        positive.mean(),
        negative.sum(),
        pairs - accepted,
        calibration.accepted.any(dim=1).to(anchors.dtype).mean(),
    ]
    # (W, 7)
    ranks = all_gather(torch.stack([value.to(anchors.dtype) for value in local]).unsqueeze(0))
    calibrated, mean, _, positive_mean, negative_sum, negative_count, share = ranks.unbind(dim=1)
    return {
        "calibrated": calibrated.sum(),
        "calibrated_share": share.mean(),
        "alignment_mean": mean.mean(),
        "alignment_max": ranks[:, 2].max(),
        "threshold": calibration.threshold,
        "positive_cosine": positive_mean.mean(),
        "negative_cosine": negative_sum.sum() / negative_count.sum().clamp(min=1),
        "feature_std": (views.context - views.context.mean(dim=0)).norm(dim=0).mean() / len(views.context) ** 0.5,
    }
