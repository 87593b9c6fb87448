"""``pcfrl bench npa``: pair alignment and the calibrated losses against plain InfoNCE and against ``S @ S``."""

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from torch import Tensor

from pcfrl_lightning import functional as F
from pcfrl_lightning.bench.clock import Clock, interleaved, paired_ratio
from pcfrl_lightning.bench.memory import peak_extra_bytes
from pcfrl_lightning.heads import AdaptiveThreshold, CalibratedContrast, Eq7, NPAThreshold

ALPHA = 10.0
TEMPERATURE = 0.07
CALIBRATED_SHARE = 0.1  # of the anchors; the threshold is chosen so
_BYTES = 4  # float32


def measure_npa(sizes: Sequence[int], dim: int, device: torch.device, budget: float = 10.0) -> list[dict[str, Any]]:
    """One row per number of views M.

    Args:
        sizes: M = 2N, even, at least 8.
        dim: length of the features.
        device: where to measure.
        budget: seconds of timing per M.

    Returns:
        Rows with ``M``; ``seconds`` (medians), ``fastest_seconds`` and ``extra_floats_per_m2`` (peak extra memory in
        units of M^2 floats) of ``infonce`` and ``calibrated`` (forward and backward), ``pa_closed`` and ``pa_s_s``
        (forward only: calibration needs no gradient of all pairs); ``calibrated_pairs``; ``calibrated_over_infonce``
        and ``s_s_over_closed``, medians of the ratios of calls made right after each other; ``fastest_over_fastest``,
        calibrated over InfoNCE, which other work on the machine disturbs least.
    """
    return [_row(size, dim, device, budget) for size in sizes]


def _row(size: int, dim: int, device: torch.device, budget: float) -> dict[str, Any]:
    first, second = clustered_views(size // 2, dim, device)
    unit = F.normalize(torch.cat([first, second]).detach())
    similarity = F.gram(unit)
    weight = F.neighborhood_weight(ALPHA, size)
    head = calibrating_head(first, second)
    contenders: dict[str, Callable[[], object]] = {
        "infonce": lambda: _differentiate(infonce(first, second), first, second),
        "calibrated": lambda: _differentiate(_total(head, first, second), first, second),
        "pa_closed": lambda: F.alignment_scores(unit, unit, similarity, weight),
        "pa_s_s": lambda: (1 - 2 * weight) * similarity + weight * (similarity @ similarity),
    }
    times = interleaved(Clock(device), contenders, budget)
    peaks = {name: peak_extra_bytes(function, device) for name, function in contenders.items()}
    return {
        "M": size,
        "rounds": len(times["infonce"]),
        "seconds": {name: median(values) for name, values in times.items()},
        "fastest_seconds": {name: min(values) for name, values in times.items()},
        "extra_floats_per_m2": {name: peak / _BYTES / size**2 for name, peak in peaks.items()},
        "calibrated_pairs": int(head(first, second).stats["calibrated"]),
        "calibrated_over_infonce": paired_ratio(times["calibrated"], times["infonce"]),
        "fastest_over_fastest": min(times["calibrated"]) / min(times["infonce"]),
        "s_s_over_closed": paired_ratio(times["pa_s_s"], times["pa_closed"]),
    }


def clustered_views(images: int, dim: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Two views (N, d) of each image, images in groups of about eight that resemble each other."""
    generator = torch.Generator().manual_seed(0)
    groups = torch.randn(-(-images // 8), dim, generator=generator).repeat(8, 1)[:images]
    return tuple(  # type: ignore[return-value]
        (groups + torch.randn(images, dim, generator=generator)).to(device).requires_grad_() for _ in range(2)
    )


def calibrating_head(first: Tensor, second: Tensor) -> CalibratedContrast:
    """The method's head with the threshold that calibrates a tenth of the anchors of these views."""
    adaptive = AdaptiveThreshold("quantile", 1 - CALIBRATED_SHARE, alpha=ALPHA)
    threshold = CalibratedContrast(adaptive, Eq7())(first, second).calibration.threshold.item()
    return CalibratedContrast(NPAThreshold(threshold, alpha=ALPHA), Eq7(), TEMPERATURE)


def infonce(first: Tensor, second: Tensor) -> Tensor:
    """InfoNCE in its usual form: cross-entropy over the cosines with all other views, the twin being the class."""
    unit = torch.nn.functional.normalize(torch.cat([first, second]))
    logits = (unit @ unit.T / TEMPERATURE).fill_diagonal_(-torch.inf)
    twins = torch.arange(len(unit), device=unit.device).roll(len(first))
    return torch.nn.functional.cross_entropy(logits, twins)


def _total(head: CalibratedContrast, first: Tensor, second: Tensor) -> Tensor:
    output = head(first, second)
    return output.loss + output.calibrated_loss


def _differentiate(loss: Tensor, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
    return torch.autograd.grad(loss, (first, second))
