"""Gather and sum over ranks with gradients; the identity in a single process. And how many cores a process has.

Convention: every rank computes the mean loss over ITS anchors and DDP averages parameter gradients over ranks. The
total is then the mean over all anchors, and the backward of both operations is a plain sum over ranks: the loss of rank
s reaches the features of rank r, the sum is W times the wanted gradient, and DDP's average divides by W.

By hand because torch.distributed.nn.functional, which has both, is deprecated since torch 2.15.
"""

import os
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of ranks; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Index of this rank; 0 without torch.distributed."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        return all_reduce_sum(grads[0])


class _AllGather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        total = grads[0].contiguous()
        own = total.new_empty(len(total) // world_size(), *total.shape[1:])
        dist.reduce_scatter_tensor(own, total)  # half of what an all-reduce sends
        return own


def all_reduce_sum(x: Tensor) -> Tensor:
    """Sum of ``x`` over ranks, differentiable."""
    total: Tensor = x if world_size() == 1 else _AllReduceSum.apply(x)
    return total


def all_gather(x: Tensor) -> Tensor:
    """Concatenate ``x`` (n, ...) of all ranks, which must be of one shape, (W n, ...) in rank order, differentiable."""
    gathered: Tensor = x if world_size() == 1 else _AllGather.apply(x)
    return gathered
