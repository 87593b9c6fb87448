"""Features of earlier batches: the queue of MoCo, the support set of NNCLR."""

import torch
from torch import Tensor, nn

from pcfrl_lightning import functional as F
from pcfrl_lightning.distributed import all_gather
from pcfrl_lightning.errors import require


class FeatureQueue(nn.Module):
    """The last ``size`` unit rows of all ranks, oldest replaced first; random directions before it is full.

    Args:
        size: rows that are kept, at least 1.
        dim: length of a row.
    """

    rows: Tensor
    position: Tensor

    def __init__(self, size: int, dim: int) -> None:
        super().__init__()
        require(size >= 1, f"queue_size must be at least 1, got {size}")
        self.register_buffer("rows", nn.functional.normalize(torch.randn(size, dim)))
        self.register_buffer("position", torch.zeros((), dtype=torch.long))

    @torch.no_grad()
    def push(self, features: Tensor) -> None:
        """Add the features (n, d) of this rank, and those of the others."""
        size = len(self.rows)
        new = F.normalize(all_gather(features.to(self.rows.dtype)))[-size:]
        index = (self.position + torch.arange(len(new), device=new.device)) % size
        self.rows.index_copy_(0, index, new)
        self.position.copy_((self.position + len(new)) % size)

    @torch.no_grad()
    def nearest(self, features: Tensor, k: int = 1) -> Tensor:
        """The k rows of highest cosine with each feature: (n, d) -> (n, k, d)."""
        index = (F.normalize(features.to(self.rows.dtype)) @ self.rows.T).topk(k, dim=1).indices
        return self.rows[index]
