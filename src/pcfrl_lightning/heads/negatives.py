"""What stands in the denominator of the contrastive losses, injectable from yaml."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pcfrl_lightning import functional as F
from pcfrl_lightning.errors import require


class Context(NamedTuple):
    """What the anchors of this rank are compared with.

    ``rows`` (M + B, d) unit rows of the M = 2N views of the global batch, then of a bank of B further views where there
    is one; ``length`` (M,) the norms before; ``anchor_index`` (m,) long, which views are the anchors; ``anchors``
    (m, d) their rows; ``similarity`` (m, M + B) cosines of anchors and rows; ``mirrored`` (m / 2, K, d) features of K
    mirrored views of each image of this rank, not normalised, where the batch has them.
    """

    rows: Tensor
    length: Tensor
    anchor_index: Tensor
    anchors: Tensor
    similarity: Tensor
    mirrored: Tensor | None = None

    @property
    def images(self) -> int:
        """N, images of the global batch; view c of it shows image c % N."""
        return len(self.length) // 2


class Negatives(nn.Module, ABC):
    """Turns the negatives of each anchor into the log of the denominator's sum.

    Attributes:
        needs_mirrored: whether `Context.mirrored` is used; its views are encoded only then.
        by_anchor: whether each anchor is treated by itself, so that a context may hold some of them.
    """

    needs_mirrored: bool = False
    by_anchor: bool = False

    @abstractmethod
    def forward(self, context: Context, negatives: Tensor, temperature: float) -> Tensor:
        """``log sum exp(cos / temperature)`` over the negatives (m, M) bool -> (m,); -inf for an anchor without any."""


class AllNegatives(Negatives):
    """Every view of another image that is not calibrated (default)."""

    by_anchor = True

    def forward(self, context: Context, negatives: Tensor, temperature: float) -> Tensor:
        return F.log_negatives(context.similarity, negatives, temperature)


class RandomNegatives(Negatives):
    """k random negatives per anchor and step (Algorithm 1 read literally draws one).

    Args:
        k: >= 1.
    """

    by_anchor = True

    def __init__(self, k: int = 1) -> None:
        super().__init__()
        require(k >= 1, f"k of RandomNegatives must be >= 1, got {k}")
        self.k = k

    def forward(self, context: Context, negatives: Tensor, temperature: float) -> Tensor:
        return F.log_negatives(context.similarity, F.random_negatives(negatives, self.k), temperature)


class _Mixing(Negatives):
    """Negatives that are blended in pairs, weights Beta(beta, beta)."""

    def __init__(self, beta: float = 1.6) -> None:
        super().__init__()
        require(beta > 0, f"beta of {type(self).__name__} must be > 0, got {beta}")
        self.beta = beta

    def draw(self, shape: torch.Size, like: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of shape (n, K) and one permutation (K,) that chooses the partner of each negative."""
        permutation = torch.randperm(shape[1], device=like.device)
        concentration = like.new_full((), self.beta)
        # validation would read the parameters back from the device
        beta = torch.distributions.Beta(concentration, concentration, validate_args=False)
        return beta.sample(shape), permutation


class MixedNegatives(_Mixing):
    """Mixed negatives of the public PCL code: two negatives blended before normalisation, weights Beta(beta, beta).

    One permutation per step chooses the partner of each negative, weights are drawn per anchor and negative. A mixture
    in which either part is a calibrated pair of the anchor is left out. The rows of a bank are not mixed.

    Args:
        beta: parameter of the Beta distribution, > 0; the public code uses 1.6.
    """

    def forward(self, context: Context, negatives: Tensor, temperature: float) -> Tensor:
        columns = F.candidate_columns(context.anchor_index, context.images)
        lam, permutation = self.draw(columns.shape, context.similarity)
        batch = context.rows[: 2 * context.images]
        mixed = F.mixed_similarity(context.similarity, batch @ batch.T, context.length, columns, lam, permutation)
        kept = negatives.gather(1, columns)
        return F.log_negatives(mixed, kept & kept[:, permutation], temperature)


class MirroredNegatives(_Mixing):
    """Mixed mirrored views of the anchor's own image, for the pose branch of the public PCL code: a mirror image shows
    another pose of the same face.  Views of other images are no negatives.

    Needs a data module with ``views: PCLViews`` or ``MirroredViews``, whose ``pose_negatives`` is K, at least 1.  The
    public code means this but regroups the K views over the images of a batch; here they stay with their image.

    Args:
        beta: as in ``MixedNegatives``.
    """

    needs_mirrored = True

    def forward(self, context: Context, negatives: Tensor, temperature: float) -> Tensor:
        if context.mirrored is None:
            raise ValueError(
                "MirroredNegatives needs mirrored views in the batch: set data.views to PCLViews or MirroredViews"
            )
        lam, permutation = self.draw(context.mirrored.shape[:2], context.mirrored)
        mixed = F.mixed_group_similarity(context.anchors, context.mirrored, lam, permutation)
        return F.log_negatives(mixed, torch.ones_like(mixed, dtype=torch.bool), temperature)


class JoinedNegatives(Negatives):
    """Two kinds of negatives in one denominator: ``log(sum over the one + sum over the other)``.

    By default views of other images and mirrored views of the anchor's own image (``MirroredNegatives``).  The
    first alone can be told apart by anything an image shows; the second differ from the anchor in pose alone.

    Args:
        in_batch: default ``AllNegatives``.
        mirrored: default ``MirroredNegatives``.
    """

    def __init__(self, in_batch: Negatives | None = None, mirrored: Negatives | None = None) -> None:
        super().__init__()
        self.in_batch = in_batch if in_batch is not None else AllNegatives()
        self.mirrored = mirrored if mirrored is not None else MirroredNegatives()
        self.needs_mirrored = self.in_batch.needs_mirrored or self.mirrored.needs_mirrored

    def forward(self, context: Context, negatives: Tensor, temperature: float) -> Tensor:
        parts = [part(context, negatives, temperature) for part in (self.in_batch, self.mirrored)]
        return torch.logaddexp(*parts)
