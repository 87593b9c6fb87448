"""One calibrated contrastive branch: gather over ranks, calibration (Algorithm 1), Eq. 6 and Eq. 7."""

from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from pcfrl_lightning import functional as F
from pcfrl_lightning.distributed import all_gather, rank, world_size
from pcfrl_lightning.errors import require
from pcfrl_lightning.heads.blocks import AnchorLosses, block_size, in_blocks
from pcfrl_lightning.heads.calibrators import Calibrator, NoCalibration
from pcfrl_lightning.heads.negatives import AllNegatives, Context, Negatives
from pcfrl_lightning.heads.pair_terms import CalibratedPairs, CosineOnly, PairTerm

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

    def named(self, prefix: str = "") -> dict[str, Tensor]:
        """Losses and statistics for the log, detached, their names after ``prefix``."""
        values = {"loss": self.loss, "calibrated_loss": self.calibrated_loss, **self.stats}
        return {f"{prefix}{name}": value.detach() for name, value in values.items()}


def named_of_both(first: ContrastOutput, second: ContrastOutput, prefix: str = "") -> dict[str, Tensor]:
    """Losses and statistics of a contrast in two directions: calibrated pairs are added, the largest alignment is that
    of both, everything else is the mean."""
    one, two = first.named(), second.named()
    values = {name: (one[name] + two[name]) / 2 for name in one}
    values["calibrated"] = one["calibrated"] + two["calibrated"]
    values["alignment_max"] = torch.maximum(one["alignment_max"], two["alignment_max"])
    return {f"{prefix}{name}": value for name, value in values.items()}


class RowContrast(nn.Module):
    """Contrastive loss of Eq. 6 of anchors with one positive each, and of Eq. 7 with calibrated partners among rows.

    The rows are whatever a method contrasts with: a queue, the keys of a batch. It has no parameters, and the arguments
    of ``CalibratedContrast``; by default nothing is calibrated, and a calibrated pair is one like any other.
    """

    def __init__(
        self,
        calibrator: Calibrator | None = None,
        pair_term: PairTerm | None = None,
        temperature: float = 0.07,
        denominator: F.Denominator = "all",
        calibrated_mean: CalibratedMean = "anchors",
    ) -> None:
        super().__init__()
        require(temperature > 0, f"temperature must be > 0, got {temperature}")
        known = denominator in get_args(F.Denominator), calibrated_mean in get_args(CalibratedMean)
        require(known[0], f"denominator must be 'negatives' or 'all', got {denominator!r}")
        require(known[1], f"calibrated_mean must be 'pairs' or 'anchors', got {calibrated_mean!r}")
        self.calibrator, self.pair_term = calibrator or NoCalibration(), pair_term or CosineOnly()
        self.temperature = temperature
        self.denominator: F.Denominator = denominator
        self.calibrated_mean: CalibratedMean = calibrated_mean

    @F.full_precision
    def forward(self, anchors: Tensor, positives: Tensor, rows: Tensor, candidates: Tensor) -> ContrastOutput:
        """Losses of the anchors of this rank; every rank holds equally many.

        Args:
            anchors: (m, d), not normalised.
            positives: (m, d) the positive of each anchor.
            rows: (M, d) what they are compared with, the same on every rank.
            candidates: (m, M) bool, the rows of other images: negatives, unless they are calibrated.
        """
        anchors, positives, rows = (F.normalize(x) for x in (anchors, positives, rows))
        # scores are of anchors within a context that holds them; those columns are neither negatives nor partners
        context = torch.cat([rows, all_gather(anchors)])
        candidates = nn.functional.pad(candidates, (0, len(context) - len(rows)))
        similarity, positive = anchors @ context.T, (anchors * positives).sum(dim=1)
        log_negatives = partial(F.log_negatives, similarity)
        losses = self._of_anchors(self.calibrator, anchors, context, similarity, positive, candidates, log_negatives)
        return self._output(losses, torch.arange(len(anchors), device=anchors.device), anchors)

    def _of_anchors(
        self,
        calibrator: Calibrator,
        anchors: Tensor,
        rows: Tensor,
        similarity: Tensor,
        positive: Tensor,
        candidates: Tensor,
        log_negatives: Callable[[Tensor, float], Tensor],
    ) -> AnchorLosses:
        score = calibrator.score(anchors, rows, similarity)
        calibration: F.Calibration = calibrator(score.detach(), candidates)
        partner, accepted = calibration.partner, calibration.accepted
        remaining = F.remove_calibrated(candidates, calibration)
        log_negative = log_negatives(remaining, self.temperature)
        term = self.pair_term(
            CalibratedPairs(
                cosine=similarity.gather(1, partner),
                alignment=torch.where(accepted, score.gather(1, partner), 1.0),  # no -inf in a masked term
                log_negative=log_negative.unsqueeze(1),
                similarity=similarity.detach(),
                candidates=candidates,
                temperature=self.temperature,
                denominator=self.denominator,
            )
        )
        return AnchorLosses(
            loss=F.contrastive_term(positive / self.temperature, log_negative, self.denominator),
            pairs=torch.where(accepted, term, 0.0).sum(dim=1),
            positive=positive.detach(),
            negative_sum=torch.where(remaining, similarity.detach(), 0.0).sum(dim=1),
            negatives=remaining.sum(dim=1),
            calibration=calibration,
        )

    def _output(self, losses: AnchorLosses, index: Tensor, views: Tensor) -> ContrastOutput:
        stats = _statistics(losses) | {"feature_std": F.feature_std(views.detach())}
        # the sum over this rank's pairs, scaled so that the MEAN over ranks is the mean of the global batch
        total = losses.pairs.sum()
        if self.calibrated_mean == "pairs":
            calibrated_loss = total * world_size() / stats["calibrated"].clamp(min=1)
        else:
            calibrated_loss = total / len(losses.loss)
        return ContrastOutput(losses.loss.mean(), calibrated_loss, stats, losses.calibration, index)


class CalibratedContrast(RowContrast):
    """Contrastive loss of Eq. 6 with the calibrated pairs of Eq. 7, on the global batch. It has no parameters.

    A large batch is computed in blocks of anchors, with the same result (`heads/blocks.py`), where calibrator and
    negatives treat each anchor by itself.

    Args:
        calibrator: scores pairs and selects the calibrated ones.
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
        super().__init__(calibrator, pair_term, temperature, denominator, calibrated_mean)
        self.negatives = negatives if negatives is not None else AllNegatives()

    @F.full_precision
    def forward(
        self, first: Tensor, second: Tensor, mirrored: Tensor | None = None, bank: Tensor | None = None
    ) -> ContrastOutput:
        """Losses of two views of each image.

        The anchors are the 2n views of this rank, their negatives and neighbours the M = 2N views of all ranks, which
        must hold equally many images, and the rows of the bank.

        Args:
            first: (n, d) one view of each image of this rank, as the projector gave it (not normalised).
            second: (n, d) the other view.
            mirrored: (n, K, d) mirrored views of each image, for ``MirroredNegatives``.
            bank: (B, d) further views, of other images, without gradient; the same on every rank.
        """
        rows, length, index, anchors = self._gather(first, second, bank)
        images, columns = len(length) // 2, torch.arange(len(rows), device=rows.device)
        size = block_size(len(rows)) if self.calibrator.by_anchor and self.negatives.by_anchor else len(anchors)

        def candidates_of(index: Tensor) -> Tensor:
            return ((columns % images) != (index % images).unsqueeze(1)) | (columns >= 2 * images)

        @torch.no_grad()
        def maxima() -> Tensor:
            blocks = zip(anchors.split(size), index.split(size), strict=True)
            scores = ((self.calibrator.score(block, rows, block @ rows.T), which) for block, which in blocks)
            return torch.cat([F.row_maxima(score, candidates_of(which)) for score, which in scores])

        calibrator = self.calibrator if size >= len(anchors) else self.calibrator.of_batch(maxima)

        @F.full_precision  # also when the backward pass computes a block again
        def of_anchors(anchors: Tensor, index: Tensor) -> AnchorLosses:
            context = Context(rows, length, index, anchors, anchors @ rows.T, mirrored)
            similarity, twin = context.similarity, (index + images) % (2 * images)
            positive = similarity.gather(1, twin.unsqueeze(1)).squeeze(1)
            candidates, log_negatives = candidates_of(index), partial(self.negatives, context)
            return self._of_anchors(calibrator, anchors, rows, similarity, positive, candidates, log_negatives)

        return self._output(in_blocks(of_anchors, anchors, index, size), index, rows[: len(length)])

    @staticmethod
    def _gather(first: Tensor, second: Tensor, bank: Tensor | None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rows, lengths, anchor indices and anchors of `Context`: views of all ranks, [first views, second views], each
        in rank order."""
        shapes = f"{tuple(first.shape)}, {tuple(second.shape)}"
        require(first.ndim == 2 and first.shape == second.shape, f"two views of one shape (n, d) needed, got {shapes}")
        n, ranks = len(first), world_size()
        require(n * ranks >= 2, "a contrastive loss needs at least two images in the global batch; raise batch_size")
        own = rank() * n + torch.arange(n, device=first.device)
        index = torch.cat([own, own + ranks * n])
        local = torch.stack([first, second]).unsqueeze(0)  # (1, 2, n, d)
        features = all_gather(local).transpose(0, 1).flatten(0, 2)  # (W, 2, n, d) -> (2 W n, d)
        batch = F.normalize(features)
        anchors = batch if ranks == 1 else batch.index_select(0, index)
        rows = batch if bank is None else torch.cat([batch, F.normalize(bank.detach())])
        return rows, features.norm(dim=1), index, anchors


def other_images(own: Tensor) -> Tensor:
    """Candidates among one row of each image of all ranks, in rank order: (n, N) bool, False for an image's own row.

    Args:
        own: the n rows of this rank.
    """
    number = rank() * len(own) + torch.arange(len(own), device=own.device)
    return torch.arange(world_size() * len(own), device=own.device) != number.unsqueeze(1)


@torch.no_grad()
def _statistics(losses: AnchorLosses) -> dict[str, Tensor]:
    """Detached scalars of the global batch, from one small gather."""
    calibration, positive = losses.calibration, losses.positive
    accepted = calibration.accepted
    local = [
        accepted.sum(),
        accepted.any(dim=1).to(positive.dtype).mean(),
        calibration.mean,
        calibration.maximum,
        positive.mean(),
        losses.negative_sum.sum(),
        losses.negatives.sum(),
    ]
    ranks = all_gather(torch.stack([value.to(positive.dtype) for value in local]).unsqueeze(0))  # (W, 7)
    calibrated, share, mean, maximum, positive_mean, negative_sum, negative_count = ranks.unbind(dim=1)
    return {
        "calibrated": calibrated.sum(),
        "calibrated_share": share.mean(),
        "alignment_mean": mean.mean(),
        "alignment_max": maximum.max(),
        "threshold": calibration.threshold,
        "positive_cosine": positive_mean.mean(),
        "negative_cosine": negative_sum.sum() / negative_count.sum().clamp(min=1),
    }
