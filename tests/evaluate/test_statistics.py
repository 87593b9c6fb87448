"""Intervals over seeds against SciPy and against values worked out by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from pcfrl_lightning.evaluate.statistics import estimate, paired_difference


@pytest.mark.parametrize("count", [2, 3, 5, 30])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_interval_is_that_of_a_t_test_of_one_sample(count, confidence):
    values = np.random.default_rng(count).normal(70, 3, count)
    found = estimate(values, confidence)
    expected = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)
    assert (found.n, found.mean, found.deviation) == pytest.approx((count, values.mean(), values.std(ddof=1)))


def test_interval_by_hand():
    """t of two degrees of freedom at 97.5 % is 4.303 in every table; s = 2, so the half width is 4.303 * 2 / sqrt 3."""
    found = estimate([4.0, 6.0, 8.0])
    assert (found.mean, found.deviation) == (6.0, 2.0)
    assert found.half_width == pytest.approx(4.303 * 2 / math.sqrt(3), rel=1e-4)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_paired_difference_is_that_of_a_paired_t_test(count):
    one, two = np.random.default_rng(count).normal([[3], [2]], 1, (2, count))
    found = paired_difference(dict(enumerate(one)), dict(enumerate(two)))
    expected = stats.ttest_rel(one, two).confidence_interval(0.95)
    assert found.mean == pytest.approx((one - two).mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_pairing_removes_what_the_seeds_share():
    seeds = {0: 60.0, 1: 70.0, 2: 80.0}
    better = {seed: value + 1 + 0.01 * seed for seed, value in seeds.items()}
    assert estimate(better.values()).deviation > 10
    assert paired_difference(better, seeds).low > 0.9


def test_only_seeds_of_both_are_compared_and_little_is_said_of_few():
    found = paired_difference({0: 1.0, 1: 5.0, 7: 9.0}, {1: 3.0, 2: 0.0})
    assert (found.n, found.mean) == (1, 2.0)
    assert all(map(math.isnan, (found.deviation, found.low, found.high)))
    nothing = paired_difference({0: 1.0}, {1: 1.0})
    assert nothing.n == 0
    assert math.isnan(nothing.mean)


def test_a_confidence_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"confidence must be in \(0, 1\), got 95"):
        estimate([1.0, 2.0], 95)


def test_a_difference_has_the_interval_of_its_confidence():
    better, baseline = {0: 1.0, 1: 3.0}, {0: 0.0, 1: 1.0}
    assert paired_difference(better, baseline, 0.5) == estimate([1.0, 2.0], 0.5)
