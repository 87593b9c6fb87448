"""Mean and variance of training features, read once from disk."""

import torch
from torch import Tensor

from pcfrl_lightning.probes.features.store import FeatureTable
from pcfrl_lightning.probes.plan import Part


def training_moments(table: FeatureTable, part: Part) -> tuple[Tensor, Tensor]:
    """Statistics of the images that each fold trains on.

    Args:
        table: features of the images of the part.
        part: the training samples; an image counts once for a fold, however many samples use it.

    Returns:
        Mean and (biased) variance, each (K, D) float32; sums are taken in float64.
    """
    folds = len(part.members)
    used = torch.zeros(folds, len(table), dtype=torch.float64)
    for k, mine in enumerate(part.members):
        used[k, part.rows[mine].flatten()] = 1.0
    total = torch.zeros(folds, table.dim, dtype=torch.float64)
    squares = torch.zeros_like(total)
    centre: Tensor | None = None
    for rows, block in table.blocks():
        values = block.double()
        centre = values[:1] if centre is None else centre  # keeps the squares small, so that nothing cancels
        values = values - centre
        total += used[:, rows] @ values
        squares += used[:, rows] @ values.square_()
    assert centre is not None
    count = used.sum(1, keepdim=True)
    mean = total / count
    variance = (squares / count - mean.square()).clamp_min_(0.0)
    return (mean + centre).float(), variance.float()
