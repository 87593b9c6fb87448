"""Codes of SwAV: an assignment of images to prototypes that uses each prototype equally."""

import torch
from torch import Tensor

from pcfrl_lightning.distributed import all_gather
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
    logs = scores / epsilon  # sums of exponentials alone would be 0 where no image is near a prototype
    for _ in range(iterations):
        logs = logs - all_gather(logs.logsumexp(dim=0, keepdim=True)).logsumexp(dim=0)
        logs = logs.log_softmax(dim=1)
    return logs.exp()
