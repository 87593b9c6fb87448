"""Many linear heads on the same features, trained side by side in one matrix product."""

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from pcfrl_lightning.errors import DataError

InputNorm = Literal["none", "standardize", "batchnorm"]
EPSILON = 1e-5
MOMENTUM = 0.1


class StackedHead(nn.Module):
    r"""R candidates (learning rates) times K folds of `[normalisation +] Linear`.

    A head with normalisation is :math:`W(\gamma \odot (x-\mu)/\sigma + \beta) + b`.  Because the features need no
    gradient, the normalisation is moved into the weights, :math:`W' = W \cdot \gamma/\sigma`, which costs C x D instead
    of B x D operations and lets every fold have statistics of its own training rows.

    All heads start from the same weights, N(0, 0.01) with zero bias as in the public code, so that a candidate gives
    what it would have given alone.

    Features have the length ``dim`` (D), a sample has ``outputs`` (C) values.  ``input_norm`` is ``none``,
    ``standardize`` with the fixed statistics of `set_statistics`, or ``batchnorm`` as `torch.nn.BatchNorm1d`.
    """

    mean: Tensor
    variance: Tensor
    offset: Tensor
    scale: Tensor

    def __init__(
        self, dim: int, outputs: int, candidates: int = 1, folds: int = 1, input_norm: InputNorm = "none", seed: int = 0
    ) -> None:
        super().__init__()
        self.input_norm = input_norm
        start = torch.randn(outputs, dim, generator=torch.Generator().manual_seed(seed)).mul_(0.01)
        weights = [nn.Parameter(start.expand(folds, outputs, dim).clone()) for _ in range(candidates)]
        biases = [nn.Parameter(torch.zeros(folds, outputs)) for _ in range(candidates)]
        self.weights, self.biases = nn.ParameterList(weights), nn.ParameterList(biases)
        affine = candidates if input_norm == "batchnorm" else 0
        self.scales = nn.ParameterList([nn.Parameter(torch.ones(folds, dim)) for _ in range(affine)])
        self.shifts = nn.ParameterList([nn.Parameter(torch.zeros(folds, dim)) for _ in range(affine)])
        tracked = 0 if input_norm == "none" else dim
        self.register_buffer("mean", torch.zeros(folds, tracked))
        self.register_buffer("variance", torch.ones(folds, tracked))
        self.register_buffer("offset", torch.zeros(folds, outputs))
        self.register_buffer("scale", torch.ones(folds, outputs))

    def candidate(self, index: int) -> list[nn.Parameter]:
        """The parameters of one candidate, for its own optimiser group."""
        lists = (self.weights, self.biases, self.scales, self.shifts)
        return [parameters[index] for parameters in lists if len(parameters)]

    def set_statistics(self, mean: Tensor, variance: Tensor) -> None:
        """Fix mean and variance of the training features, each (K, D), for ``standardize``."""
        self.mean.copy_(mean)
        self.variance.copy_(torch.where(variance > EPSILON, variance, 1.0))

    def set_output_scale(self, offset: Tensor, scale: Tensor) -> None:
        """Outputs become ``offset + scale * output``, each (K, C): targets in units far from 1."""
        self.offset.copy_(offset)
        self.scale.copy_(scale)

    @torch.no_grad()
    def copy_head(self, source: "StackedHead", candidate: int, fold: int) -> None:
        """Let one fold of candidate 0 become that fold of a candidate of another stack."""
        own, others = (*self.candidate(0), *self.buffers()), (*source.candidate(candidate), *source.buffers())
        for mine, theirs in zip(own, others, strict=True):
            mine[fold].copy_(theirs[fold])

    def forward(self, features: Tensor, members: Tensor | None = None) -> Tensor:
        """Features (B, D) to the outputs of all heads, (R, K, B, C) in the type of the weights.

        ``members`` (K, B) bool are the rows whose statistics each fold may see in training; default all.
        """
        with torch.autocast(features.device.type, enabled=False):
            features = features.to(self.weights[0].dtype)
            weight, bias = torch.stack(list(self.weights)), torch.stack(list(self.biases))  # (R, K, C, D), (R, K, C)
            if self.input_norm != "none":
                mean, variance = self._statistics(features, members)
                scale = (variance + EPSILON).rsqrt().expand(len(weight), -1, -1)  # (R, K, D)
                shift = -mean * scale
                if self.input_norm == "batchnorm":
                    scale = scale * torch.stack(list(self.scales))
                    shift = torch.stack(list(self.shifts)) - mean * scale
                bias = bias + torch.einsum("rkcd,rkd->rkc", weight, shift)
                weight = weight * scale.unsqueeze(2)
            outputs = torch.nn.functional.linear(features, weight.flatten(0, 2), bias.flatten())
            outputs = outputs.unflatten(1, bias.shape).permute(1, 2, 0, 3)  # (B, R K C) -> (R, K, B, C)
            return outputs * self.scale.unsqueeze(1) + self.offset.unsqueeze(1)

    def _statistics(self, features: Tensor, members: Tensor | None) -> tuple[Tensor, Tensor]:
        if self.input_norm == "standardize" or not self.training:
            return self.mean, self.variance
        count, mean, variance = masked_moments(features, members)
        with torch.no_grad():
            unbiased = variance * (count / (count - 1).clamp_min(1)).unsqueeze(1)
            # a fold that is absent from the batch learns nothing
            momentum = MOMENTUM * (count > 0).to(mean.dtype).unsqueeze(1)
            self.mean.lerp_(mean, momentum)
            self.variance.lerp_(unbiased, momentum)
        return mean, variance


class FeatureHeads(nn.Module):
    """The heads on one feature: R learning rates times H heads, of which the first K are reported, and the best epoch.

    Where a part of the training samples chooses, the H - K others are the companions that are scored on it.
    """

    choice_scores: Tensor
    best_scores: Tensor
    best_epochs: Tensor
    best_candidates: Tensor

    def __init__(
        self, dim: int, outputs: int, rates: int, heads: int, folds: int, input_norm: InputNorm, seed: int
    ) -> None:
        super().__init__()
        self.folds = folds
        self.head = StackedHead(dim, outputs, rates, heads, input_norm, seed)
        self.best = StackedHead(dim, outputs, 1, folds, input_norm, seed).requires_grad_(False)
        self.register_buffer("choice_scores", torch.zeros(rates, folds))
        self.register_buffer("best_scores", torch.full((folds,), -math.inf))
        self.register_buffer("best_epochs", torch.zeros(folds, dtype=torch.long))
        self.register_buffer("best_candidates", torch.zeros(folds, dtype=torch.long))

    @property
    def has_best(self) -> bool:
        """Whether there was an epoch to be remembered for every fold."""
        return bool((self.best_epochs > 0).all())

    def judge(self, scores: Tensor, epoch: int) -> Tensor:
        """Take the scores (R, K) of an epoch, higher is better; remember the heads that are the best so far.

        Returns the best score (K,) of each fold over the learning rates.
        """
        scores = scores.nan_to_num(nan=-math.inf).to(self.choice_scores.device)
        self.choice_scores.copy_(scores)
        top, candidates = scores.max(0)
        for k in (top > self.best_scores).nonzero().flatten().tolist():
            self.best.copy_head(self.head, int(candidates[k]), k)
            self.best_scores[k], self.best_epochs[k], self.best_candidates[k] = top[k], epoch, candidates[k]
        return top

    def reported(self, features: Tensor) -> dict[str, Tensor]:
        """Outputs (K, B, C) of the learning rate chosen after the ``last`` epoch, and of the ``best`` one if any."""
        last = self.head(features)[:, : self.folds]
        found = {"last": last[self.choice_scores.argmax(0), torch.arange(self.folds, device=last.device)]}
        return found | ({"best": self.best(features)[0]} if self.has_best else {})

    def facts(self, rates: list[float]) -> dict[str, Any]:
        """Learning rates and best epochs for results.json."""
        best = {"epochs": self.best_epochs.tolist(), "lr": [rates[i] for i in self.best_candidates.tolist()]}
        return {
            "lr": {"candidates": rates, "last": [rates[i] for i in self.choice_scores.argmax(0).tolist()]},
            "best_epoch": best if self.has_best else None,
        }


def heads_like(state: dict[str, Tensor], prefix: str) -> dict[str, FeatureHeads]:
    """Heads by feature, of the kinds and shapes in a state dictionary of names ``PREFIX FEATURE . ...``."""
    found: dict[str, FeatureHeads] = {}
    for key, weight in state.items():
        if key.startswith(prefix) and key.endswith(".head.weights.0"):
            heads, outputs, dim = weight.shape
            base = key.removesuffix("head.weights.0")
            rates, folds = state[f"{base}choice_scores"].shape
            held = sum(k.startswith(f"{base}head.weights.") and v.shape == weight.shape for k, v in state.items())
            if not weight.numel() or folds > heads or rates != held:  # never allocate more than the file holds
                raise DataError(f"the heads {base} are damaged: {held} learning rates, {folds} folds, {heads} heads")
            norm: InputNorm = "standardize" if state[f"{base}head.mean"].shape[1] else "none"
            norm = "batchnorm" if f"{base}head.scales.0" in state else norm
            name = base.removeprefix(prefix).removesuffix(".")
            found[name] = FeatureHeads(dim, outputs, rates, heads, folds, norm, 0)
    return found


def masked_moments(features: Tensor, members: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Count (K,), mean (K, D) and biased variance (K, D) of the rows of (B, D) that belong to each fold.

    ``members`` are (K, B) bool; default one fold with all rows.
    """
    if members is None:
        members = torch.ones(1, len(features), dtype=torch.bool, device=features.device)
    count = members.sum(1)
    average = members.to(features.dtype) / count.clamp_min(1).unsqueeze(1)
    centre = features[:1]  # differences from any row keep the squares small, so that no digits are lost
    centred = features - centre
    offset = average @ centred
    variance = (average @ centred.square() - offset.square()).clamp_min_(0.0)
    return count, offset + centre, variance
