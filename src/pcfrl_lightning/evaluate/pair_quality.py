"""Precision and recall of calibrated pairs of a checkpoint, for any threshold."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from pcfrl_lightning import functional as F
from pcfrl_lightning.data.views.appearance import Appearance
from pcfrl_lightning.data.views.cpu import AlbumentationsViews
from pcfrl_lightning.evaluate.calibrated_pairs import Branch, calibrated_batches, identities_agree, poses_agree
from pcfrl_lightning.evaluate.pose_sets import PoseFaces
from pcfrl_lightning.methods.pcfrl import PCFRL

QUANTILES = (0.0, 0.5, 0.75, 0.9, 0.95, 0.99)
"""Of the row maxima, as thresholds T: 0 takes the best candidate of every anchor (Table 7, top-1)."""
ALPHA = 10.0
"""Weight of the neighbourhood in PA, of the paper."""

_APPEARANCE = Appearance(0.4, 0.4, 0.4, 0.1, blur_p=0.3, blur_sigma=(0.1, 1.0), sobel_p=0.1)


def pair_quality(
    module: PCFRL, known: PoseFaces, batches: int = 10, batch_size: int = 256, seed: int = 0
) -> dict[str, Any]:
    """How often the best candidates by pair alignment are right, in batches of random faces with true labels.

    Views have the milder changes of appearance of ``configs/experiment/cpu.yaml`` and keep the pose. A pair is right in
    the face branch when it shows one person, in the pose branch when yaw, pitch and roll agree within 10 degrees. An
    anchor is findable when its batch holds a right candidate.

    Returns:
        by branch ``face`` and ``pose``: ``base_rate``, share of right ones among all candidates; ``findable``, share of
        the anchors; ``own``, of the calibrator in the checkpoint, and ``quantiles``, of T at each quantile of the row
        maxima of the batch: ``share`` of the anchors that are calibrated, ``precision`` (None without a pair) and
        ``recall``, the share of the findable anchors that got a right partner.
    """
    views = AlbumentationsViews(module.network.image_size, _APPEARANCE, flip_p=0.0)
    size = min(batch_size, len(known.faces))
    agree: dict[str, Callable[[Tensor], Tensor]] = {
        "face": lambda rows: identities_agree(known.person[rows]),
        "pose": lambda rows: poses_agree(known.pose[rows]),
    }
    found: dict[str, list[Tensor]] = {name: [] for name in agree}
    for batch in islice(calibrated_batches(module, known.faces, views, size, seed), batches):
        for name, of_rows in agree.items():
            found[name].append(branch_counts(batch.branches[name], of_rows(batch.rows), QUANTILES))
    return {name: _shares(torch.stack(counts).sum(0)) for name, counts in found.items()}


def branch_counts(branch: Branch, agreement: Tensor, quantiles: Sequence[float]) -> Tensor:
    """Counts of one batch of N images: row 0 is of all pairs, row 1 of the branch's own calibrator, then a row for each
    quantile.

    Returns:
        (2 + Q, 3) float64. Row 0: candidates, right candidates, findable anchors; the others: anchors, calibrated
        anchors, right ones among these.
    """
    rows, images = branch.features.double(), len(agreement)
    similarity = rows @ rows.T
    view = torch.arange(2 * images) % images
    right = agreement[view][:, view]
    candidates = view.unsqueeze(0) != view.unsqueeze(1)
    score = F.alignment_scores(rows, rows, similarity, F.neighborhood_weight(ALPHA, len(rows), "mean"))
    best, partner = score.masked_fill(~candidates, -torch.inf).max(1)
    hit = right.gather(1, partner.unsqueeze(1))[:, 0]
    possible = (right & candidates).any(1)
    own = branch.output.calibration
    own_right = own.accepted & right[branch.output.anchors].gather(1, own.partner)
    counts: list[list[Any]] = [
        [candidates.sum(), (right & candidates).sum(), possible.sum()],
        [len(rows), own.accepted.any(1).sum(), own_right.any(1).sum()],
    ]
    for quantile in quantiles:
        taken = best >= torch.quantile(best, quantile)
        counts.append([len(rows), taken.sum(), (taken & hit).sum()])
    return torch.tensor([[float(value) for value in row] for row in counts], dtype=torch.float64)


def _shares(counts: Tensor) -> dict[str, Any]:
    (candidates, right_candidates, findable), own, *rest = counts.tolist()

    def shares(row: list[float]) -> dict[str, float | None]:
        anchors, taken, right = row
        precision, recall = right / taken if taken else None, right / findable if findable else None
        return {"share": taken / anchors, "precision": precision, "recall": recall}

    return {
        "base_rate": right_candidates / candidates,
        "findable": findable / own[0],
        "own": shares(own),
        "quantiles": {f"{quantile:g}": shares(row) for quantile, row in zip(QUANTILES, rest, strict=True)},
    }
