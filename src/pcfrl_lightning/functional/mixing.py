"""Mixed negatives of the public PCL code, computed from Gram matrices only.

A mixed negative is ``x = lambda n_j + (1 - lambda) n_p``, L2-normalised after mixing. Its cosine with an anchor and its
norm need only inner products of the n's, so that the (anchors, negatives, d) tensor of mixtures never exists.
"""

import torch
from torch import Tensor

from pcfrl_lightning.functional.alignment import inverse_length, normalize
from pcfrl_lightning.functional.precision import full_precision


def _mixed_cosine(
    lam: Tensor, dot: Tensor, dot_partner: Tensor, square: Tensor, square_partner: Tensor, cross: Tensor
) -> Tensor:
    """Cosine of a unit anchor with the normalised mixture, all arguments broadcastable; 0 for a mixture of norm 0."""
    rest = 1 - lam
    norm_square = lam.square() * square + rest.square() * square_partner + 2 * lam * rest * cross
    return (lam * dot + rest * dot_partner) * inverse_length(norm_square)


def candidate_columns(anchors: Tensor, images: int) -> Tensor:
    """Columns of the views of other images in index order, (m,) anchor indices in [0, 2N) -> (m, 2N - 2) long."""
    low, high = (anchors % images).unsqueeze(1), (anchors % images + images).unsqueeze(1)
    columns = torch.arange(2 * images - 2, device=anchors.device).expand(len(anchors), -1)
    columns = columns + (columns >= low)
    return columns + (columns >= high)


@full_precision
def mixed_similarity(
    similarity: Tensor, gram: Tensor, norms: Tensor, columns: Tensor, lam: Tensor, permutation: Tensor
) -> Tensor:
    """Cosines (m, K) of the anchors with their mixed in-batch negatives (PCL face branch).

    Args:
        similarity: (m, M) cosines of the anchors with all views.
        gram: (M, M) cosines of all views with each other.
        norms: (M,) lengths of the features before normalisation: the mixing happens before it.
        columns: (m, K) long, the negatives of each anchor, from ``candidate_columns``.
        lam: (m, K) mixing weights in [0, 1]; 1 gives ``similarity`` at ``columns``.
        permutation: (K,) long, negative j is mixed with negative permutation[j]; one for all anchors.
    """
    partners = columns[:, permutation]
    length, length_partner = norms[columns], norms[partners]
    dot, cross = similarity.gather(1, columns), gram[columns, partners] * length * length_partner
    partner_dot = dot[:, permutation] * length_partner
    return _mixed_cosine(lam, dot * length, partner_dot, length.square(), length_partner.square(), cross)


@full_precision
def mixed_group_similarity(anchors: Tensor, negatives: Tensor, lam: Tensor, permutation: Tensor) -> Tensor:
    """Cosines (2N, K) of the anchors with mixed negatives of their own image (PCL pose branch).

    Args:
        anchors: (2N, d) ordered [first views, second views]; both views of image j use group j.
        negatives: (N, K, d) features of K negatives per image, not normalised.
        lam: (N, K) mixing weights in [0, 1].
        permutation: (K,) long, inside a group.
    """
    views = normalize(anchors).unflatten(0, (2, -1))  # (2, N, d)
    dot = torch.einsum("vnd,nkd->vnk", views, negatives)
    square = negatives.square().sum(dim=-1)
    cross = (negatives * negatives[:, permutation]).sum(dim=-1)
    mixed = _mixed_cosine(lam, dot, dot[..., permutation], square, square[:, permutation], cross)
    return mixed.flatten(0, 1)
