"""Cosines of a whole batch with itself, differentiable in little memory.

A contrastive step holds one or two (M, M) matrices whatever it does; every further one, and every (M, d) copy when d is
of the order of M, is what these functions avoid: they keep the caller's tensors instead of copies, recompute unit rows,
and walk over a few rows at a time.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pcfrl_lightning.functional.precision import full_precision

_ROWS = 128  # of a block: temporaries of (128, M) are small beside (M, M), and products on them still efficient
_TINY = 1e-12  # a shorter row counts as zero


def row_blocks(rows: int) -> Iterator[slice]:
    """Slices that cover ``rows`` rows, a few at a time."""
    for start in range(0, rows, _ROWS):
        yield slice(start, min(start + _ROWS, rows))


def symmetric_product(matrix: Tensor, rows: Tensor) -> Tensor:
    """``(matrix + matrix^T) rows`` of an (M, M) and an (M, d) without the (M, M) sum, (M, d)."""
    product = torch.empty_like(rows)
    for part in row_blocks(len(rows)):
        torch.mm(matrix[part] + matrix[:, part].T, rows, out=product[part])
    return product


class BatchCosines(NamedTuple):
    """``unit`` (M, d) rows, first views then second; their ``length`` (M,) before; ``similarity`` (M, M)."""

    unit: Tensor
    length: Tensor
    similarity: Tensor


def _unit_rows(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Unit rows of both views below each other, their lengths and the inverse of these (0 for a zero row)."""
    dtype = first.dtype if first.dtype == torch.float64 else torch.float32
    unit = torch.empty(2 * len(first), first.shape[1], dtype=dtype, device=first.device)
    unit[: len(first)], unit[len(first) :] = first, second
    length = torch.linalg.vector_norm(unit, dim=1)
    nonzero = length > _TINY
    inverse = torch.where(nonzero, torch.where(nonzero, length, 1.0).reciprocal(), 0.0)
    return unit.mul_(inverse.unsqueeze(1)), length, inverse


class _BatchCosines(torch.autograd.Function):
    """Saves the two inputs only, which live anyway, and one product instead of two in the backward."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(first, second)
        with torch.autocast(first.device.type, enabled=False):
            unit, length, _ = _unit_rows(first, second)
            return unit, length, unit @ unit.T

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor, Tensor]:
        d_unit, d_length, d_similarity = grads
        first, second = ctx.saved_tensors
        with torch.autocast(first.device.type, enabled=False):
            unit, _, inverse = _unit_rows(first, second)
            total = torch.zeros_like(unit) if d_similarity is None else symmetric_product(d_similarity, unit)
            if d_unit is not None:
                total.add_(d_unit)
            # x = length * unit: the part of the gradient along unit does not change the direction of x
            for part in row_blocks(len(total)):
                radial = -inverse[part] * (total[part] * unit[part]).sum(dim=1)
                if d_length is not None:
                    radial += d_length[part]
                total[part].mul_(inverse[part].unsqueeze(1)).addcmul_(unit[part], radial.unsqueeze(1))
        return total[: len(first)].to(first.dtype), total[len(first) :].to(second.dtype)


def batch_cosines(first: Tensor, second: Tensor) -> BatchCosines:
    """Cosines of all views of a batch.

    Args:
        first: (N, d) one view of each image, not normalised, any floating dtype.
        second: (N, d) the other view, of the same dtype.

    Returns:
        In float32 (float64 for float64 input). A zero row stays zero, with cosine 0 and zero gradient.
    """
    return BatchCosines(*_BatchCosines.apply(first, second))


class _ChosenPairs(torch.autograd.Function):
    """Entries of S and products of its rows, with one (M, M) gradient for both."""

    @staticmethod
    def forward(ctx: Any, similarity: Tensor, columns: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(similarity, columns, partner)
        products = torch.empty(partner.shape, dtype=similarity.dtype, device=similarity.device)
        for column, chosen in enumerate(partner.T):
            for part in row_blocks(len(partner)):
                rows = similarity.index_select(0, chosen[part])
                products[part, column] = rows.mul_(similarity[part]).sum(dim=1)
        return similarity.gather(1, columns), products

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor, None, None]:
        d_cosine, d_products = grads
        similarity, columns, partner = ctx.saved_tensors
        total = torch.zeros_like(similarity)
        if d_cosine is not None:
            total.scatter_add_(1, columns, d_cosine)
        if d_products is not None:
            for column, chosen in enumerate(partner.T):
                for part in row_blocks(len(partner)):
                    factor = d_products[part, column].unsqueeze(1)
                    total[part].addcmul_(similarity.index_select(0, chosen[part]), factor)
                    total.index_add_(0, chosen[part], similarity[part] * factor)
        return total, None, None


@full_precision
def chosen_pairs(similarity: Tensor, columns: Tensor, partner: Tensor) -> tuple[Tensor, Tensor]:
    """Some entries of the cosine matrix and products of some of its rows.

    Args:
        similarity: (M, M) S, symmetric.
        columns: (M, c) long, the entries wanted of each row.
        partner: (M, k) long, the rows to multiply each row with; k is small, 0 for none.

    Returns:
        (M, c) ``S[i, columns]`` and (M, k) ``<S_i, S_partner>`` = (S^2)[i, partner], the sum of Eq. 5 with both its own
        terms: ``PA = (1 - 2a) S + a S^2``. O((c + k) M^2), no matrix product.
    """
    cosine, products = _ChosenPairs.apply(similarity, columns, partner)
    return cosine, products
