"""Metrics of face tasks that torchmetrics does not have, as pure functions, and those that it has, by name."""

import inspect
import math
from collections.abc import Sequence
from difflib import get_close_matches
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, classification, regression
from torchmetrics.functional.classification import binary_roc

from pcfrl_lightning.errors import UsageError, one_line


def best_threshold(scores: Tensor, same: Tensor) -> float:
    """Lowest threshold t with the highest accuracy of ``scores >= t`` for similarities (n,) and ``same`` (n,) bool.

    It lies in the middle between two neighbouring scores; minus or plus infinity where one answer for all is best.
    """
    far, tar = error_rates(scores, same)
    right = (tar * same.sum() - far * (~same).sum()).round()  # but for a constant
    accepted = len(right) - 1 - int(right.flip(0).argmax())  # of the different scores
    edges = [math.inf, *scores.double().unique().flip(0).tolist(), -math.inf]
    return (edges[accepted] + edges[accepted + 1]) / 2


def fold_accuracies(scores: Tensor, same: Tensor, fold: Tensor) -> tuple[Tensor, Tensor]:
    """Verification accuracy of each fold at the threshold that is best on the other folds (LFW View 2).

    ``scores`` are (n,), or (K, n) where each fold has a model of its own, in the order of the values of ``fold`` (n,).
    Returns accuracies (K,) and thresholds (K,), float64.
    """
    tests = [fold == name for name in fold.unique()]
    each = list(zip(scores.expand(len(tests), -1).double(), tests, strict=True))
    thresholds = [best_threshold(mine[~test], same[~test]) for mine, test in each]
    right = [(mine >= limit) == same for (mine, _), limit in zip(each, thresholds, strict=True)]
    accuracies = [every[test].double().mean() for every, test in zip(right, tests, strict=True)]
    return torch.stack(accuracies), torch.tensor(thresholds, dtype=torch.float64)


def error_rates(scores: Tensor, same: Tensor) -> tuple[Tensor, Tensor]:
    """False accept and true accept rate at every threshold, from "accept nothing" to "accept all".

    Each is (number of different scores + 1,) float64, not decreasing; ``same`` (n,) bool must be of both kinds.
    """
    # ranks: torchmetrics would squash scores outside [0, 1] to float32, where near ones become equal
    ranks = scores.unique(return_inverse=True)[1] / len(scores)
    far, tar, _ = binary_roc(ranks.double(), same.long())
    positives = same.sum().double()
    negatives = len(same) - positives
    return (far.double() * negatives).round() / negatives, (tar.double() * positives).round() / positives


def equal_error_rate(scores: Tensor, same: Tensor) -> float:
    """Error rate where false accepts and false rejects are equally frequent, interpolated between thresholds."""
    far, tar = error_rates(scores, same)
    gap = far - (1 - tar)  # rises from -1 to 1
    after = int((gap >= 0).nonzero()[0])
    share = -gap[after - 1] / (gap[after] - gap[after - 1])
    return float(far[after - 1] + share * (far[after] - far[after - 1]))


def tar_at_far(scores: Tensor, same: Tensor, far: float = 1e-3) -> float:
    """Highest true accept rate at a threshold with a false accept rate of at most ``far``."""
    rates, accepted = error_rates(scores, same)
    return float(accepted[rates <= far].max())


def area_under_roc(scores: Tensor, same: Tensor) -> float:
    """Area under TAR over FAR."""
    far, tar = error_rates(scores, same)
    return float(torch.trapezoid(tar, far))


def banded_mae(predicted: Tensor, target: Tensor, by: Tensor, edges: Sequence[float]) -> list[float]:
    """Mean absolute error (n, ...) of the samples with ``edges[i] <= |by| < edges[i + 1]``; NaN for an empty band.

    The last band has both of its edges.  ``by`` is (n,), such as the true yaw in degrees; ``edges`` rise.
    """
    errors = (predicted - target).abs().flatten(1).mean(1)
    size = by.abs()
    below = [(size < edge) | (size == edges[-1]) & (edge == edges[-1]) for edge in edges]
    return [float(errors[inner & ~outer].mean()) for outer, inner in pairwise(below)]


def normalized_mean_error(predicted: Tensor, target: Tensor, eyes: tuple[int, int]) -> Tensor:
    """(n,) mean distance of landmarks (n, L, 2) as a share of the inter-ocular distance.

    ``eyes`` are the landmark numbers of the outer eye corners (or eye centres where there are no corners).
    """
    distance = (target[:, eyes[0]] - target[:, eyes[1]]).norm(dim=-1)
    return (predicted - target).norm(dim=-1).mean(-1) / distance


_KNOWN = ("num_classes", "num_labels", "num_outputs", "task")
"""Arguments of a metric that follow from the predictions."""


class NamedMetric:
    """A metric of torchmetrics, given the arguments that follow from the predictions (``num_classes`` and the like).

    ``name`` is that of the class or of the function, such as ``MulticlassCohenKappa`` or ``multiclass_cohen_kappa``; a
    ValueError offers near ones, or names an argument that the metric needs besides.
    """

    def __init__(self, name: str) -> None:
        known = {
            _plain(key): getattr(module, key)
            for module in (regression, classification)
            for key in module.__all__
            if inspect.isclass(getattr(module, key))
        }
        if _plain(name) not in known:
            near = [known[key].__name__ for key in get_close_matches(_plain(name), known)]
            hint = f"did you mean {', '.join(near)}?" if near else "see the lists of its classification and regression"
            raise ValueError(f"model.metric {name}: torchmetrics has no such metric; {hint}")
        self.kind: type[Metric] = known[_plain(name)]
        self.name = name
        parameters = inspect.signature(self.kind).parameters
        named = [each for each in parameters.values() if each.kind == each.POSITIONAL_OR_KEYWORD]
        if unknown := [each.name for each in named if each.default is each.empty and each.name not in _KNOWN]:
            raise ValueError(f"model.metric {name}: it needs {', '.join(unknown)}, which no option gives")
        if self.kind.__name__.removesuffix("AUROC").endswith(("Curve", "ROC")):
            raise ValueError(f"model.metric {name}: it gives a curve, not a figure; the area under it is one (AUROC)")
        self.arguments = [each for each in _KNOWN if each in parameters]
        self.higher_is_better = getattr(self.kind, "higher_is_better", None)

    def __call__(self, preds: Tensor, target: Tensor) -> float | list[Any]:
        """The value, a list where the metric gives several."""
        width = preds.shape[1] if preds.ndim > 1 else 1
        task = "multiclass" if target.ndim < preds.ndim else "multilabel" if preds.ndim > 1 else "binary"
        offered = dict(zip(_KNOWN, (width, width, width, task), strict=True))
        try:
            value = self.kind(**{key: offered[key] for key in self.arguments})(preds, target)
        except Exception as error:  # torchmetrics has many types for figures of another kind
            raise UsageError(f"model.metric {self.name} does not suit {task} predictions: {one_line(error)}") from error
        return float(value) if value.ndim == 0 else value.tolist()


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
