"""Codes of SwAV: an assignment of images to prototypes that uses each prototype equally."""

import torch
from torch import Tensor

from pcfrl_lightning.distributed import all_reduce_sum, world_size
from pcfrl_lightning.functional.precision import full_precision


@torch.no_grad()
@full_precision
def sinkhorn_codes(scores: Tensor, epsilon: float = 0.05, iterations: int = 3) -> Tensor:
    """Soft codes by Sinkhorn-Knopp (Caron et al. 2020, Eq. 3 to 5) over the images of all ranks.

    Args:
        scores: (n, K) cosines of the images of this rank with the prototypes.
        epsilon: smoothness of the codes.
        iterations: of normalising over images and over prototypes.

    Returns:
        (n, K), no gradient; each row sums to 1.
    """
    codes = (scores / epsilon).softmax(dim=1)  # proportional to exp(scores / epsilon) in each row, without overflow
    scale = torch.logsumexp(scores / epsilon, dim=1, keepdim=True)
    largest = scale.max()
    if world_size() > 1:
        torch.distributed.all_reduce(largest, torch.distributed.ReduceOp.MAX)
    codes = codes * (scale - largest).exp()
    for _ in range(iterations):
        codes = codes / all_reduce_sum(codes.sum(dim=0))
        codes = codes / codes.sum(dim=1, keepdim=True)
    return codes
