"""Ridge regression of standardised features, solved exactly in float64."""

from collections.abc import Sequence

import torch
from torch import Tensor


def ridge(train: Tensor, targets: Tensor, queries: Tensor, strength: float = 0.03) -> Tensor:
    """Predictions (q, T) for queries (q, D), of a regression of targets (n, T) on features (n, D).

    Features are standardised by the mean and the deviation of ``train``; ``strength``, above 0, is the penalty per
    training row. The system solved is the smaller of (n, n) and (D, D).
    """
    mean, std = train.mean(0), train.std(0).clamp_min(1e-6)
    x, z = ((train - mean) / std).double(), ((queries - mean) / std).double()
    y = targets.double()
    centre = y.mean(0)
    penalty = strength * len(x) * torch.eye(min(x.shape), dtype=x.dtype, device=x.device)
    if len(x) < x.shape[1]:
        weights = x.T @ torch.linalg.solve(x @ x.T + penalty, y - centre)
    else:
        weights = torch.linalg.solve(x.T @ x + penalty, x.T @ (y - centre))
    return z @ weights + centre


def ridge_by_folds(features: Tensor, targets: Tensor, fold: Tensor, strengths: Sequence[float]) -> Tensor:
    """Predictions (n, T) for every row by a ridge regression that has seen nothing of its fold.

    For each fold the penalty is chosen on the following fold by a regression on the remaining ones, then the regression
    is fitted again on all but the fold itself. No row of the fold has a part in the standardisation, the choice or the
    fit. The features are read once: a regression on any folds follows from sums over each of them.

    Args:
        features: (n, D); matrices of (K, D, D) float64 are made of them.
        targets: (n, T).
        fold: (n,) long, values 0 to K - 1 with K >= 3, none of them empty.
        strengths: penalties per training row, above 0.
    """
    folds = range(int(fold.max()) + 1)
    shift = features.mean(0).double()  # keeps the squares small, so that no digits are lost
    x = [features[fold == k].double() - shift for k in folds]
    y = [targets[fold == k].double() for k in folds]
    counts = torch.tensor([len(rows) for rows in x], dtype=torch.float64)
    x_sums, y_sums = (torch.stack([rows.sum(0) for rows in part]) for part in (x, y))
    squares = torch.stack([rows.T @ rows for rows in x])
    products = torch.stack([rows.T @ others for rows, others in zip(x, y, strict=True)])

    def predict(k: int, used: Tensor, strength: float) -> Tensor:
        """Predictions for fold k by a regression on the folds where ``used`` (K,) is True."""
        n = counts[used].sum()
        mean, centre = x_sums[used].sum(0) / n, y_sums[used].sum(0) / n
        covariance = squares[used].sum(0) / n - torch.outer(mean, mean)
        std = covariance.diagonal().clamp_min(0).sqrt().clamp_min(1e-6)
        system = covariance / torch.outer(std, std)
        system.diagonal().add_(strength)
        slope = (products[used].sum(0) / n - torch.outer(mean, centre)) / std[:, None]
        weights = torch.cholesky_solve(slope, torch.linalg.cholesky(system)) / std[:, None]
        return (x[k] - mean) @ weights + centre

    predicted = torch.empty(targets.shape, dtype=torch.float64)
    for k in folds:
        following = (k + 1) % len(folds)
        used = torch.arange(len(folds)) != k
        inner = used & (torch.arange(len(folds)) != following)
        errors = {each: float((predict(following, inner, each) - y[following]).square().mean()) for each in strengths}
        predicted[fold == k] = predict(k, used, min(errors, key=errors.__getitem__))
    return predicted
