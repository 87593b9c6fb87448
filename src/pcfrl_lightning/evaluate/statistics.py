"""Mean, standard deviation and 95 % interval of a figure over seeds, and of the difference of two settings."""

import math
from collections.abc import Iterable, Mapping
from statistics import fmean, stdev
from typing import NamedTuple

from pcfrl_lightning.errors import require


class Estimate(NamedTuple):
    """A mean and how sure it is."""

    n: int  # number of values
    mean: float  # nan for no values
    deviation: float  # sample standard deviation, divided by n - 1; nan for fewer than two values
    low: float  # ends of the confidence interval of the mean; nan for fewer than two values
    high: float

    @property
    def half_width(self) -> float:
        """Half the length of the interval, what stands after a plus-minus sign."""
        return (self.high - self.low) / 2


def estimate(values: Iterable[float], confidence: float = 0.95) -> Estimate:
    """Mean and interval ``mean -+ t s / sqrt(n)`` with t of Student's distribution with n - 1 degrees of freedom.

    Args:
        values: n independent values, such as the accuracy of one setting for n seeds.
        confidence: share of such intervals that hold the true mean, in (0, 1).

    Raises:
        ValueError: a confidence out of range.

    Example:
        >>> e = estimate([1.0, 2.0, 3.0])
        >>> round(e.mean, 3), round(e.deviation, 3), round(e.low, 3), round(e.high, 3)
        (2.0, 1.0, -0.484, 4.484)
    """
    from scipy.stats import t

    require(0 < confidence < 1, f"confidence must be in (0, 1), got {confidence}")
    known = [float(value) for value in values]
    count, mean = len(known), fmean(known) if known else math.nan
    if count < 2:
        return Estimate(count, mean, math.nan, math.nan, math.nan)
    deviation = stdev(known)
    half = float(t.ppf((1 + confidence) / 2, count - 1)) * deviation / math.sqrt(count)
    return Estimate(count, mean, deviation, mean - half, mean + half)


def paired_difference(values: Mapping[int, float], baseline: Mapping[int, float], confidence: float = 0.95) -> Estimate:
    """Estimate of ``values - baseline``, each by seed, over the seeds that both have.

    The two runs of a seed share their data order and initial weights, so that the difference within a seed varies less
    than either value.  ``confidence`` is that of `estimate`.
    """
    return estimate((values[seed] - baseline[seed] for seed in sorted(values.keys() & baseline.keys())), confidence)
