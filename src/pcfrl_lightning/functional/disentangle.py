"""Pose-disentangling losses: reconstruction (Eq. 1) and orthogonality (Eq. 2, and the public code's variant)."""

import torch
from torch import Tensor

from pcfrl_lightning.functional.alignment import normalize
from pcfrl_lightning.functional.precision import full_precision


@full_precision
def reconstruction_loss(source: Tensor, target: Tensor, reconstructed: Tensor) -> Tensor:
    """Eq. 1: the sum of four mean absolute errors; the pose feature decides which image a decoding must equal.

    Args:
        source: (N, 3, S, S) s.
        target: (N, 3, S, S) s_hat, the pose augmentation of s.
        reconstructed: (4, N, 3, S, S) decodings in the order D(F_f, F_p), D(F_f, F_p_hat), D(F_f_hat, F_p),
            D(F_f_hat, F_p_hat); they are compared with s, s_hat, s, s_hat.
    """
    if source.shape != target.shape or reconstructed.shape != (4, *source.shape):
        raise ValueError(
            f"reconstruction_loss needs source and target of one shape and reconstructed of (4, that shape); got "
            f"{tuple(source.shape)}, {tuple(target.shape)}, {tuple(reconstructed.shape)}"
        )
    pairs = reconstructed.unflatten(0, (2, 2))  # (face s / s_hat, pose s / s_hat, N, 3, S, S)
    return 4 * (pairs - torch.stack([source, target])).abs().mean()


@full_precision
def orthogonality_loss(f_f: Tensor, f_p: Tensor) -> Tensor:
    """One term of Eq. 2: ``mean_i (F_f,i . F_p,i)^2`` on L2-normalised features, (N, D) each -> scalar in [0, 1].

    Eq. 2 adds the term of the images and the term of their pose augmentations: call it once for each. Without the
    normalisation the 2048-term product would swamp every other loss.
    """
    return (normalize(f_f) * normalize(f_p)).sum(dim=-1).square().mean()


@full_precision
def cross_covariance_loss(f_f: Tensor, f_p: Tensor) -> Tensor:
    """Orthogonality of the public PCL code: mean square of the (D, D') products of centred features over the batch.

    Each input, (N, D) and (N, D'), has its batch mean subtracted and each row divided by (its length, a constant for
    the gradient, + 1e-6). With A, B the results, ``|A^T B|_F^2 = sum((A A^T) * (B B^T))``: for N < D the (N, N)
    products are the cheaper side.
    """
    a, b = _standardize(f_f), _standardize(f_p)
    if len(a) < min(a.shape[1], b.shape[1]):
        total = ((a @ a.T) * (b @ b.T)).sum()
    else:
        total = (a.T @ b).square().sum()
    return total / (a.shape[1] * b.shape[1])


def _standardize(features: Tensor) -> Tensor:
    centred = features - features.mean(dim=0)
    return centred / (centred.detach().norm(dim=1, keepdim=True) + 1e-6)
