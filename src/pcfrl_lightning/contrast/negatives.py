"""What stands in the denominator of the contrastive losses, injectable from yaml."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from pcfrl_lightning import functional as F


class Views(NamedTuple):
    """The views of the global batch as the head sees them.

    ``context`` (M, d) their unit rows; ``length`` (M,) the norms before; ``anchor_index`` (m,) long, which of them are
    the anchors of this rank; ``similarity`` (m, M) cosines of anchors and context.
    """

    context: Tensor
    length: Tensor
    anchor_index: Tensor
    similarity: Tensor


class Negatives(ABC):
    """Turns the negatives of each anchor into the log of the denominator's sum."""

    @abstractmethod
    def __call__(self, views: Views, negatives: Tensor, temperature: float) -> Tensor:
        """``log sum exp(cos / temperature)`` over the negatives (m, M) bool -> (m,); -inf for an anchor without any."""


class AllNegatives(Negatives):
    """Every view of another image that is not calibrated (default)."""

    def __call__(self, views: Views, negatives: Tensor, temperature: float) -> Tensor:
        """See :class:`Negatives`."""
        return F.log_negatives(views.similarity, negatives, temperature)


class RandomNegatives(Negatives):
    """k random negatives per anchor and step (Algorithm 1 read literally draws one).

    Args:
        k: >= 1.
    """

    def __init__(self, k: int = 1) -> None:
        if k < 1:
            raise ValueError(f"k of RandomNegatives must be >= 1, got {k}")
        self.k = k

    def __call__(self, views: Views, negatives: Tensor, temperature: float) -> Tensor:
        """See :class:`Negatives`."""
        return F.log_negatives(views.similarity, F.random_negatives(negatives, self.k), temperature)


class MixedNegatives(Negatives):
    """Mixed negatives of the public PCL code: two negatives blended before normalisation, weights Beta(beta, beta).

    One permutation per step says who is mixed with whom, weights are drawn per anchor and negative. A mixture in which
    either part is a calibrated pair of the anchor is left out.

    Args:
        beta: parameter of the Beta distribution, > 0; the public code uses 1.6.
    """

    def __init__(self, beta: float = 1.6) -> None:
        if not beta > 0:
            raise ValueError(f"beta of MixedNegatives must be > 0, got {beta}")
        self.beta = beta

    def __call__(self, views: Views, negatives: Tensor, temperature: float) -> Tensor:
        """See :class:`Negatives`."""
        columns = F.candidate_columns(views.anchor_index, images=len(views.context) // 2)
        permutation = torch.randperm(columns.shape[1], device=columns.device)
        concentration = torch.full_like(views.similarity[:1, :1], self.beta).squeeze()
        # validation would read the parameters back from the device
        lam = torch.distributions.Beta(concentration, concentration, validate_args=False).sample(columns.shape)
        square = views.similarity.shape[0] == views.similarity.shape[1]
        gram = views.similarity if square else F.gram(views.context)
        mixed = F.mixed_similarity(views.similarity, gram, views.length, columns, lam, permutation)
        kept = negatives.gather(1, columns)
        return F.log_negatives(mixed, kept & kept[:, permutation], temperature)
