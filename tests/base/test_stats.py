"""Means and intervals against SciPy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.stats import binomtest

from nestevo_hw.base.stats import (
    Estimate,
    mean,
    or_none,
    share_interval,
    student_t,
    t_interval,
    t_margin,
    total,
    wilson_interval,
)

VALUES = st.lists(st.floats(-10.0, 10.0).map(lambda v: round(v, 3)), min_size=2, max_size=40)


@pytest.mark.parametrize("degrees", [1, 2, 5, 10, 11, 30, 100, 1000])
@pytest.mark.parametrize("probability", [0.05, 0.5, 0.95, 0.975, 0.999])
def test_quantiles_of_students_t(probability: float, degrees: int) -> None:
    assert student_t(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-8, abs=1e-12)


@given(VALUES)
def test_the_interval_is_that_of_scipy(values: list[float]) -> None:
    center, error = float(np.mean(values)), float(stats.sem(values))
    low, high = (center, center) if error == 0 else stats.t.interval(0.95, len(values) - 1, loc=center, scale=error)
    assert t_interval(values) == pytest.approx((low, high), rel=1e-8, abs=1e-10)
    one_sided = 0.0 if error == 0 else stats.t.ppf(0.95, len(values) - 1) * error
    assert t_margin(values, 0.95) == pytest.approx(one_sided, rel=1e-8, abs=1e-10)
    estimate = Estimate.of(values)
    assert (estimate.mean, estimate.ci95) == (pytest.approx(center, abs=1e-10), t_interval(values))
    assert estimate.half == pytest.approx((high - low) / 2, rel=1e-8, abs=1e-10)


def test_the_interval_of_five_draws_holds_the_truth_in_95_of_100() -> None:
    draws = np.random.default_rng(0).normal(0.3, 1.0, (4000, 5))
    held = sum(low <= 0.3 <= high for low, high in map(t_interval, draws.tolist())) / len(draws)
    assert held == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / len(draws)))


def test_a_single_value_has_no_interval() -> None:
    with pytest.raises(ValueError, match="need two values or more for an interval, got 1"):
        t_interval([0.5])
    single = Estimate.of([0.4])
    assert (single.document(), single.known) == ({"mean": 0.4, "ci95": None}, True)
    assert math.isnan(single.half)


def test_what_was_not_measured_is_left_out() -> None:
    assert Estimate.of([0.4, math.nan, 0.6]) == Estimate.of([0.4, 0.6])
    for nothing in ([], [math.nan]):
        assert Estimate.of(nothing).document() == {"mean": None, "ci95": None}
        assert not Estimate.of(nothing).known
        assert math.isnan(mean(nothing))
        assert math.isnan(total(nothing))
    assert (mean([1.0, math.nan, 3.0]), total([1.0, math.inf, 3.0])) == (2.0, 4.0)
    assert [or_none(v) for v in (0.5, math.nan, -math.inf, None)] == [0.5, None, None, None]


@pytest.mark.parametrize(("hits", "count"), [(0, 24), (24, 24), (1, 60), (59, 60), (120, 240), (7, 9)])
def test_wilson_interval_is_that_of_scipy(hits: int, count: int) -> None:
    expected = binomtest(hits, count).proportion_ci(method="wilson")
    assert wilson_interval(hits / count, count) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_interval_of_shares_stays_between_0_and_1() -> None:
    low, high = share_interval([0.99, 1.0, 0.95])
    assert 0.0 < low < 0.98 < high < 1.0
    assert t_interval([0.99, 1.0, 0.95])[1] > 1.0
    # By the delta method it meets Student's t where little varies in the middle.
    assert share_interval([0.5, 0.51, 0.49]) == pytest.approx(t_interval([0.5, 0.51, 0.49]), abs=1e-4)
    # By hand: logit(0.8) = 1.386294; standard error / (m (1 - m)) = 0.05 / 0.16, times t = 12.706205 of two values.
    reach = 12.706205 * 0.05 / 0.16
    expected = tuple(1 / (1 + math.exp(-(1.3862944 + sign * reach))) for sign in (-1, 1))
    assert share_interval([0.75, 0.85]) == pytest.approx(expected, rel=1e-5)
    assert (share_interval([1.0, 1.0]), share_interval([0.0, 0.0])) == ((1.0, 1.0), (0.0, 0.0))


@pytest.mark.parametrize("count", [96, 100, 240, 478])
def test_the_interval_of_equal_shares_holds_their_mean(count: int) -> None:
    """Pictures draw bars from the mean to its ends, which must not be a rounding on the wrong side of it."""
    for right in range(count + 1):
        share = right / count
        low, high = share_interval([share, share])
        assert low <= share <= high
        assert high - low < 1e-12
