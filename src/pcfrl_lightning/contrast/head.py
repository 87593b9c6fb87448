"""One calibrated contrastive branch: gather over ranks, calibration (Algorithm 1), Eq. 6 and Eq. 7."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from pcfrl_lightning import functional as F
from pcfrl_lightning.contrast.calibrators import Calibrator
from pcfrl_lightning.contrast.negatives import AllNegatives, Negatives, Views
from pcfrl_lightning.contrast.pair_terms import CalibratedPairs, PairTerm
from pcfrl_lightning.distributed import all_gather, all_gather_with_grad, all_reduce_sum, rank, world_size

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

    def forward(self, first: Tensor, second: Tensor) -> ContrastOutput:
        """Losses of the two views (n, d) each, as this rank's projector gave them (not normalised).

        The anchors are the 2n views of this rank, their negatives and neighbours the M = 2N views of all ranks, which
        must hold equally many images.
        """
        with torch.autocast(first.device.type, enabled=False):
            views, anchors = self._gather(first, second)
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
        local = torch.stack([F.upcast(first), F.upcast(second)]).unsqueeze(0)  # (1, 2, n, d)
        features = all_gather_with_grad(local).transpose(0, 1).flatten(0, 2)  # (W, 2, n, d) -> (2 W n, d)
        context = F.normalize(features)
        own = rank() * n + torch.arange(n, device=first.device)
        index = torch.cat([own, own + ranks * n])
        if ranks == 1:
            return Views(features, context, index, F.gram(context)), context
        anchors = context.index_select(0, index)
        return Views(features, context, index, anchors @ context.T), anchors

    def _losses(self, views: Views, anchors: Tensor, candidates: Tensor, calibration: F.Calibration) -> ContrastOutput:
        first, second = anchors.chunk(2)
        positive = (first * second).sum(dim=-1).repeat(2)  # (2n,), the twin of a local anchor is local
        remaining = F.remove_calibrated(candidates, calibration)
        log_negative = self.negatives(views, remaining, self.temperature)
        loss = F.contrastive_term(positive / self.temperature, log_negative, self.denominator).mean()

        cosine, alignment = self._partner_scores(views, anchors, calibration)
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

    def _partner_scores(self, views: Views, anchors: Tensor, calibration: F.Calibration) -> tuple[Tensor, Tensor]:
        """Cosine, with gradient, and score, with gradient if the pair term uses it, of each proposal, (m, k)."""
        partner, accepted, score, *_ = calibration
        m, k = partner.shape
        d, size = anchors.shape[1], len(views.context)
        all_rows = m == size and size <= 4 * d  # larger batches: traffic on (M, M) outweighs the products saved
        if all_rows:
            cosine = views.similarity.gather(1, partner)
        else:
            partners = views.context.index_select(0, partner.flatten()).view(m, k, d)
            cosine = (anchors.unsqueeze(1) * partners).sum(dim=-1)
        if not self.pair_term.alignment_gradient or k == 0:
            return cosine, torch.where(accepted, score, 1.0)  # no -inf may reach a masked term
        weight = self.calibrator.score_weight(size)
        if weight == 0:
            alignment = cosine
        elif all_rows:  # O(k M^2) instead of several M d^2
            alignment = F.selected_alignment_from_similarity(views.similarity, partner, cosine, weight)
        else:
            neighborhood = all_reduce_sum(anchors.T @ anchors)
            alignment = F.selected_alignment_from_gram(anchors, partners, neighborhood, cosine, weight)
        return cosine, torch.where(accepted, alignment, 1.0)


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
    ]
    # (W, 6)
    ranks = all_gather(torch.stack([value.to(anchors.dtype) for value in local]).unsqueeze(0))
    calibrated, mean, _, positive_mean, negative_sum, negative_count = ranks.unbind(dim=1)
    return {
        "calibrated": calibrated.sum(),
        "alignment_mean": mean.mean(),
        "alignment_max": ranks[:, 2].max(),
        "threshold": calibration.threshold,
        "positive_cosine": positive_mean.mean(),
        "negative_cosine": negative_sum.sum() / negative_count.sum().clamp(min=1),
        "feature_std": (views.context - views.context.mean(dim=0)).square().mean(dim=0).sqrt().mean(),
    }
