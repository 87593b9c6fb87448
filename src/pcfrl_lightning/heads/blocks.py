"""Losses of anchors by themselves, so that many anchors can be computed in blocks."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from pcfrl_lightning import functional as F

LARGEST = 2**25
"""Numbers in the largest (m, M) matrix that is computed in one piece: 128 MiB in float32, M = 5,792 in one process. The
losses and their gradients hold about eight of them at once."""


class AnchorLosses(NamedTuple):
    """What m anchors contribute; everything is (m,) but ``calibration``.

    ``loss``: Eq. 6; ``pairs``: the sum of Eq. 7 over the accepted partners; ``positive``: cosine with the positive;
    ``negative_sum`` and ``negatives``: sum of the cosines with the negatives, without gradient, and their number.
    """

    loss: Tensor
    pairs: Tensor
    positive: Tensor
    negative_sum: Tensor
    negatives: Tensor
    calibration: F.Calibration


def block_size(columns: int) -> int:
    """Anchors in the largest block of matrices of so many columns."""
    return max(1, LARGEST // columns)


def in_blocks(
    losses: Callable[[Tensor, Tensor], AnchorLosses], anchors: Tensor, index: Tensor, size: int
) -> AnchorLosses:
    """``losses(anchors, index)``, in blocks of ``size`` anchors where there are more.

    A block keeps nothing but its result: the backward pass computes it again. Memory is O(size * columns + rows * d),
    and time a third more.

    Args:
        losses: of some anchors (m, d) and their numbers (m,), each anchor by itself; may use tensors with gradient that
            are not among its arguments.
        anchors: (m, d).
        index: (m,) long.
        size: at least 1.
    """
    if len(anchors) <= size:
        return losses(anchors, index)
    blocks = zip(anchors.split(size), index.split(size), strict=True)
    return _joined([checkpoint(losses, *block, use_reentrant=False) for block in blocks])


def _joined(parts: list[AnchorLosses]) -> AnchorLosses:
    *losses, calibrations = zip(*parts, strict=True)
    *chosen, threshold, means, maximum = zip(*calibrations, strict=True)
    # every anchor has equally many candidates
    sums = [mean * len(part.loss) for mean, part in zip(means, parts, strict=True)]
    mean = torch.stack(sums).sum() / sum(len(part.loss) for part in parts)
    calibration = [*map(torch.cat, chosen), threshold[0], mean, torch.stack(maximum).max()]
    return AnchorLosses._make([*map(torch.cat, losses), F.Calibration._make(calibration)])
