"""Intervals over seeds against SciPy, against their definition, and by how often they hold the truth."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from nestevo_hw.base.stats import Estimate
from nestevo_hw.studies.compare.intervals import difference_of_ratios, minus, ratio_of

SCORES = st.floats(0.05, 0.95, allow_nan=False)
PAIRS = st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=10)


def _t_value(numerators, denominators, ratio):
    """How many standard errors numerator - ratio * denominator is from zero."""
    apart = np.array(numerators) - ratio * np.array(denominators)
    return abs(apart.mean()) / stats.sem(apart)


@settings(max_examples=200)
@given(PAIRS)
def test_the_ratio_interval_ends_where_the_t_test_starts_to_reject(pairs):
    numerators, denominators = zip(*pairs, strict=True)
    estimate = ratio_of(numerators, denominators)
    assert estimate.mean == pytest.approx(np.mean(numerators) / np.mean(denominators))
    critical = stats.t.ppf(0.975, len(pairs) - 1)
    if estimate.ci95 is None:  # the denominator itself is not distinguishable from zero
        assert _t_value(denominators, np.zeros(len(pairs)), 0.0) <= critical * (1 + 1e-3)
        return
    low, high = estimate.ci95
    assume(1e-6 < high - low < 50)
    assert low <= estimate.mean <= high
    for end in (low, high):
        assert _t_value(numerators, denominators, end) == pytest.approx(critical, rel=1e-2)
    assert _t_value(numerators, denominators, (estimate.mean + low) / 2) < critical
    assert _t_value(numerators, denominators, low - (high - low)) > critical


def test_a_ratio_of_five_seeds_holds_the_truth_in_95_of_100_draws():
    draw = np.random.default_rng(0)
    trials, truth = 4000, 0.6
    held = 0
    for _ in range(trials):
        room = draw.normal(0.1, 0.03, 5)
        estimate = ratio_of(truth * room + draw.normal(0.0, 0.02, 5), room)
        # Where the seeds cannot bound the ratio, nothing is claimed, so nothing is wrong.
        held += estimate.ci95 is None or estimate.ci95[0] <= truth <= estimate.ci95[1]
    error = math.sqrt(0.95 * 0.05 / trials)
    assert held / trials >= 0.95 - 4 * error


@pytest.mark.parametrize("denominators", [[-0.1, 0.05], [0.0, 0.0], [math.nan, math.nan], []])
def test_a_ratio_without_a_positive_denominator_is_not_defined(denominators):
    estimate = ratio_of([0.1] * len(denominators), denominators)
    assert (estimate.value, estimate.bounds, estimate.known) == (None, None, False)
    assert estimate.document() == {"mean": None, "ci95": None}


def test_a_single_seed_has_no_interval():
    assert (ratio_of([0.3], [0.6]).mean, ratio_of([0.3], [0.6]).ci95) == (0.5, None)
    single = difference_of_ratios(([0.6], [0.3]), ([0.45], [0.3]))
    assert (single.mean, single.ci95) == (pytest.approx(0.5), None)


def test_seeds_without_a_value_are_left_out():
    assert ratio_of([0.4, 0.2, 0.5], [0.8, math.nan, 0.7]) == ratio_of([0.4, 0.5], [0.8, 0.7])
    assert not difference_of_ratios(([math.nan], [1.0]), ([1.0], [1.0])).known


def test_unequal_numbers_of_seeds_are_refused():
    with pytest.raises(ValueError, match="shorter"):
        minus([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="shorter"):
        ratio_of([0.1, 0.2], [0.1])


@given(st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=8), st.floats(0.2, 0.8))
def test_with_a_common_constant_start_the_difference_of_gains_is_a_paired_t_interval(pairs, start):
    ours, theirs = (list(column) for column in zip(*pairs, strict=True))
    starts = [start] * len(pairs)
    estimate = difference_of_ratios((ours, starts), (theirs, starts))
    expected = Estimate.of([(a - b) / start for a, b in pairs])
    assert estimate.mean == pytest.approx(expected.mean, abs=1e-9)
    assert estimate.ci95 == pytest.approx(expected.ci95, abs=1e-9)


def test_a_difference_of_ratios_holds_the_truth_in_95_of_100_draws():
    draw = np.random.default_rng(1)
    trials, held = 4000, 0
    for _ in range(trials):
        seed_effect = draw.normal(0.0, 0.03, 5)
        before, other_before = (0.4 + seed_effect + draw.normal(0.0, 0.01, 5) for _ in range(2))
        after = 0.60 + seed_effect + draw.normal(0.0, 0.02, 5)
        other = 0.52 + seed_effect + draw.normal(0.0, 0.02, 5)
        low, high = difference_of_ratios((after, before), (other, other_before)).ci95
        held += low <= 0.2 <= high
    # The delta method is not exact; half a point beyond sampling error is allowed.
    assert abs(held / trials - 0.95) < 4 * math.sqrt(0.95 * 0.05 / trials) + 0.005
