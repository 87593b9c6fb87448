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


class FoldSums:
    """Sums over each fold from which a ridge regression on any folds follows: the features are read once.

    Args:
        features: (n, D); the matrices kept are (folds, D, D) float64.
        targets: (n, T).
        fold: (n,) long, values 0 to K - 1, none of them empty.
    """

    def __init__(self, features: Tensor, targets: Tensor, fold: Tensor) -> None:
        self.folds = int(fold.max()) + 1
        self.shift, self.fold = features.mean(0).double(), fold  # keeps the squares small, so that no digits are lost
        rows = [(fold == k).nonzero()[:, 0] for k in range(self.folds)]
        x = [features[each].double() - self.shift for each in rows]
        y = [targets[each].double() for each in rows]
        self.count = torch.tensor([len(each) for each in rows], dtype=torch.float64)
        self.x, self.y = (torch.stack([each.sum(0) for each in part]) for part in (x, y))
        self.xx = torch.stack([each.T @ each for each in x])
        self.xy = torch.stack([each.T @ other for each, other in zip(x, y, strict=True)])

    def predict(self, used: Tensor, queries: Tensor, strength: float) -> Tensor:
        """Predictions (q, T) for queries (q, D) of a regression on the folds where ``used`` (K,) is True."""
        n, mean, centre = self.count[used].sum(), self.x[used].sum(0), self.y[used].sum(0)
        mean, centre = mean / n, centre / n
        covariance = self.xx[used].sum(0) / n - torch.outer(mean, mean)
        std = covariance.diagonal().clamp_min(0).sqrt().clamp_min(1e-6)
        system = covariance / torch.outer(std, std)
        system.diagonal().add_(strength)
        slope = (self.xy[used].sum(0) / n - torch.outer(mean, centre)) / std[:, None]
        weights = torch.cholesky_solve(slope, torch.linalg.cholesky(system)) / std[:, None]
        return (queries.double() - self.shift - mean) @ weights + centre


def ridge_by_folds(features: Tensor, targets: Tensor, fold: Tensor, strengths: Sequence[float]) -> Tensor:
    """Predictions (n, T) for every row by a ridge regression that has seen nothing of its fold.

    For each fold the penalty is chosen on the following fold by a regression on the remaining ones, then the regression
    is fitted again on all but the fold itself. No row of the fold has a part in the standardisation, the choice or the
    fit.

    Args:
        features: (n, D).
        targets: (n, T).
        fold: (n,) long, values 0 to K - 1 with K >= 3, none of them empty.
        strengths: penalties per training row, above 0.
    """
    sums = FoldSums(features, targets, fold)
    predicted = torch.empty(targets.shape, dtype=torch.float64)
    every = torch.arange(sums.folds)
    for k in range(sums.folds):
        following = (k + 1) % sums.folds
        judged, tested = fold == following, fold == k
        inner = (every != k) & (every != following)

        def error(strength: float, used: Tensor = inner, rows: Tensor = judged) -> float:
            return float((sums.predict(used, features[rows], strength) - targets[rows]).square().mean())

        best = min(strengths, key=error)
        predicted[tested] = sums.predict(every != k, features[tested], best)
    return predicted
