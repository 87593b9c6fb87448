"""Slow, obvious references: plain Python loops over the sums of the paper, in float64."""

import math

import torch
from torch import Tensor


def unit(features: Tensor) -> Tensor:
    rows = []
    for row in features.double():
        length = math.sqrt(sum(value.item() ** 2 for value in row))
        rows.append(row / length if length > 0 else row * 0)
    return torch.stack(rows)


def cosines(features: Tensor) -> Tensor:
    v = unit(features)
    return torch.tensor([[sum((a * b).tolist()) for b in v] for a in v], dtype=torch.float64)


def neighborhood(features: Tensor) -> Tensor:
    """Eq. 5, the sum over k not in {i, j}; the diagonal is left at 0."""
    s = cosines(features)
    m = len(s)
    result = torch.zeros_like(s)
    for i in range(m):
        for j in range(m):
            if i != j:
                result[i, j] = sum(float(s[i, k] * s[k, j]) for k in range(m) if k not in (i, j))
    return result


def alignment(features: Tensor, alpha: float, mode: str = "mean") -> Tensor:
    """Eq. 3 off the diagonal."""
    m = len(features)
    terms = m - 2 if mode == "mean" else 1
    factor = alpha / terms if m > 2 else 0.0
    return cosines(features) + factor * neighborhood(features)


def candidates(images: int) -> list[list[int]]:
    return [[k for k in range(2 * images) if k % images != i % images] for i in range(2 * images)]


def calibrate(score: Tensor, images: int, threshold: float) -> dict[int, int]:
    """Algorithm 1: anchor -> accepted partner."""
    pairs = {}
    for i, others in enumerate(candidates(images)):
        best = max(others, key=lambda k: float(score[i, k]))
        if float(score[i, best]) >= threshold:
            pairs[i] = best
    return pairs


def log_sum(similarity: Tensor, i: int, negatives: list[int], temperature: float) -> float:
    return math.log(sum(math.exp(float(similarity[i, k]) / temperature) for k in negatives))


def losses(
    features: Tensor, alpha: float, threshold: float, beta: float, temperature: float, variant: str, denominator: str
) -> tuple[float, float, dict[int, int]]:
    """Eq. 6 over all anchors, the calibrated loss of a variant over C, and the calibrated pairs."""
    m = len(features)
    images = m // 2
    s, pa = cosines(features), alignment(features, alpha)
    pairs = calibrate(pa, images, threshold)
    plain, calibrated = 0.0, 0.0
    for i, others in enumerate(candidates(images)):
        negatives = [k for k in others if k != pairs.get(i)]
        total = log_sum(s, i, negatives, temperature)

        def term(logit: float, total: float = total) -> float:
            return (math.log(math.exp(total) + math.exp(logit)) if denominator == "all" else total) - logit

        plain += term(float(s[i, (i + images) % m]) / temperature)
        if i in pairs:
            k = pairs[i]
            cosine, w = float(s[i, k]), beta * float(pa[i, k])
            attention = math.exp(cosine / temperature - log_sum(s, i, others, temperature))
            calibrated += {
                "eq7": lambda c=cosine, w=w: term(c / temperature) - math.log(w),
                "loss": lambda c=cosine, w=w: w * term(c / temperature),
                "exponent": lambda c=cosine, w=w: term(w * c / temperature),
                "cosine": lambda c=cosine: term(c / temperature),
                "npa": lambda i=i, k=k: term(float(pa[i, k]) / temperature),
                "attention": lambda c=cosine, a=attention: a * term(c / temperature),
            }[variant]()
    return plain / m, calibrated / max(len(pairs), 1), pairs
