"""Gather and sum over ranks with gradients; the identity in a single process.

Convention: every rank computes the mean loss over ITS anchors and DDP averages parameter gradients over ranks. The
total is then the mean over all anchors, and the backward of both operations is a plain sum over ranks: the loss of rank
s reaches the features of rank r, the sum is W times the wanted gradient, and DDP's average divides by W.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of ranks; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Index of this rank; 0 without torch.distributed."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def all_gather(x: Tensor) -> Tensor:
    """Concatenate ``x`` (n, ...) of all ranks, (W n, ...) in rank order; every rank's loss reaches every rank's ``x``.

    Every rank must hold the same shape (``drop_last`` in the loader).
    """
    if world_size() == 1:
        return x
    from torch.distributed.nn.functional import all_gather as gather

    return torch.cat(gather(x))


def all_reduce_sum(x: Tensor) -> Tensor:
    """Sum of ``x`` over ranks, differentiable."""
    if world_size() == 1:
        return x
    from torch.distributed.nn.functional import all_reduce

    total: Tensor = all_reduce(x)
    return total
