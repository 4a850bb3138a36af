"""Means and intervals against SciPy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from nestevo_hw.base.stats import Estimate, mean, or_none, student_t, t_interval, t_margin, total

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
