"""Gather and sum over ranks with correct gradients; the identity in a single process.

Convention: every rank computes the mean loss over ITS anchors and DDP averages parameter gradients over ranks. The
total is then the mean over all anchors, and the backward of both operations is a plain sum over ranks: the loss of rank
s reaches the features of rank r, the sum is W times the wanted gradient, and DDP's average divides by W.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def is_distributed() -> bool:
    """Whether a process group with more than one rank is running."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def world_size() -> int:
    """Number of ranks; 1 without torch.distributed."""
    return dist.get_world_size() if is_distributed() else 1


def rank() -> int:
    """Index of this rank; 0 without torch.distributed."""
    return dist.get_rank() if is_distributed() else 0


def all_gather(x: Tensor) -> Tensor:
    """Concatenate ``x`` (n, ...) of all ranks along the first dimension, no gradient: (W n, ...), in rank order.

    Every rank must hold the same shape (``drop_last`` in the loader).
    """
    if not is_distributed():
        return x.detach()
    parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world_size())]
    dist.all_gather(parts, x.detach().contiguous())
    return torch.cat(parts)


def all_reduce_sum_no_grad(x: Tensor) -> Tensor:
    """Sum of ``x`` over ranks, no gradient; ``x`` itself is not changed."""
    total = x.detach().clone()
    if is_distributed():
        dist.all_reduce(total)
    return total


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.rows = len(x)
        return all_gather(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        start = rank() * ctx.rows
        return all_reduce_sum_no_grad(grads[0].contiguous())[start : start + ctx.rows]


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return all_reduce_sum_no_grad(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return all_reduce_sum_no_grad(grads[0].contiguous())


def all_gather_with_grad(x: Tensor) -> Tensor:
    """Concatenate ``x`` (n, ...) of all ranks, (W n, ...), differentiable: every rank's loss reaches every rank's x."""
    if not is_distributed():
        return x
    gathered: Tensor = _AllGather.apply(x)
    return gathered


def all_reduce_sum(x: Tensor) -> Tensor:
    """Sum of ``x`` over ranks, differentiable."""
    if not is_distributed():
        return x
    total: Tensor = _AllReduceSum.apply(x)
    return total
