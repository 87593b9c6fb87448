"""Two quick classifiers on frozen features, as pure functions."""

import torch
import torch.nn.functional as F
from torch import Tensor


def knn_predict(train: Tensor, labels: Tensor, queries: Tensor, neighbors: int = 20) -> Tensor:
    """Majority vote of the k most similar training features, by cosine; ties go to the smaller label.

    Args:
        train: features ``(n, D)``.
        labels: ``(n,)`` long, from 0.
        queries: features ``(q, D)``.
        neighbors: k; more than n counts as n.

    Returns:
        predicted labels ``(q,)``.
    """
    similarity = F.normalize(queries, dim=1) @ F.normalize(train, dim=1).T
    nearest = similarity.topk(min(neighbors, len(train)), dim=1).indices
    votes = F.one_hot(labels, int(labels.max()) + 1)[nearest].sum(1)
    return votes.argmax(1)


def ridge_predict(train: Tensor, labels: Tensor, queries: Tensor, strength: float = 0.03) -> Tensor:
    """Ridge regression of standardised features on one-hot labels, solved exactly.

    The smaller of the primal ``(D, D)`` and the dual ``(n, n)`` system is solved, in float64.

    Args:
        train: features ``(n, D)``.
        labels: ``(n,)`` long, from 0.
        queries: features ``(q, D)``.
        strength: penalty per training image, above 0.

    Returns:
        predicted labels ``(q,)``.
    """
    mean, std = train.mean(0), train.std(0).clamp_min(1e-6)
    x, z = ((train - mean) / std).double(), ((queries - mean) / std).double()
    y = F.one_hot(labels, int(labels.max()) + 1).double()
    y = y - y.mean(0) if len(y) > 1 else y
    count, dim = x.shape
    if dim <= count:
        weight = torch.linalg.solve(
            x.T @ x + strength * count * torch.eye(dim, dtype=x.dtype, device=x.device), x.T @ y
        )
    else:
        dual = torch.linalg.solve(x @ x.T + strength * count * torch.eye(count, dtype=x.dtype, device=x.device), y)
        weight = x.T @ dual
    offset = F.one_hot(labels, y.shape[1]).double().mean(0)
    return (z @ weight + offset).argmax(1)
