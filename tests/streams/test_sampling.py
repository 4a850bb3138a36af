"""The upload budget: never exceeded, never wasted, and in proportion to drift."""

import itertools
import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.streams.sampling import SamplingConfig, allocate

DRIFT = st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(0, 100), min_size=1, max_size=6)


@given(drift=DRIFT, spare=st.integers(0, 300), least=st.integers(1, 20), extra=st.integers(0, 80))
def test_the_budget_is_used_up_as_far_as_segments_go(drift, spare, least, extra):
    most, budget = least + extra, least * len(drift) + spare
    frames = allocate(drift, budget, least=least, most=most)
    assert sum(frames.values()) == min(budget, most * len(drift))
    assert all(least <= count <= most for count in frames.values())
    ranked = sorted(drift, key=lambda name: drift[name])
    assert all(frames[a] <= frames[b] + 1 for a, b in itertools.pairwise(ranked))


def test_shares_follow_drift():
    assert allocate({"a": 30.0, "b": 10.0}, 100, least=10, most=200) == {"a": 70, "b": 30}
    assert allocate({"a": 30.0, "b": 10.0}, 100, least=10, most=60) == {"a": 60, "b": 40}
    assert allocate({"a": 0.0, "b": 0.0, "c": 0.0}, 100, least=10, most=60) == {"a": 34, "b": 33, "c": 33}


@given(
    drift=st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(0.01, 100), min_size=1, max_size=7),
    spare=st.integers(0, 300),
)
def test_without_a_limit_whole_frames_go_to_the_largest_remainders(drift, spare):
    """Hamilton's method, counted out in exact fractions."""
    total = sum(Fraction(score) for score in drift.values())
    shares = {name: spare * Fraction(score) / total for name, score in drift.items()}
    expected = {name: 10 + math.floor(share) for name, share in shares.items()}
    left = spare - sum(math.floor(share) for share in shares.values())
    for name in sorted(drift, key=lambda n: (-(shares[n] % 1), n))[:left]:
        expected[name] += 1
    assert allocate(drift, 10 * len(drift) + spare, least=10, most=10_000) == expected


def test_the_larger_remainder_wins_over_the_larger_share():
    """Shares of 5.4 and 4.6 frames: the odd frame belongs to the second."""
    assert allocate({"a": 5.4, "b": 4.6}, 12, least=1, most=99) == {"a": 6, "b": 6}


@given(drift=DRIFT, spare=st.integers(0, 300), extra=st.integers(0, 80))
def test_the_order_of_terminals_does_not_matter(drift, spare, extra):
    backwards = dict(reversed(drift.items()))
    budget = 5 * len(drift) + spare
    assert allocate(drift, budget, least=5, most=5 + extra) == allocate(backwards, budget, least=5, most=5 + extra)


@given(first=st.floats(0, 1e308), second=st.floats(0, 1e308))
def test_shares_stay_exact_however_far_apart_scores_are(first, second):
    frames = allocate({"a": first, "b": second}, 101, least=1, most=200)
    assert sum(frames.values()) == 101
    assert frames["a"] >= frames["b"] or second > first


def test_a_segment_shorter_than_the_least_gives_what_it_has():
    assert allocate({"a": 1.0, "b": 9.0}, 12, least=24, most=6) == {"a": 6, "b": 6}


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_scores_that_are_no_numbers_are_refused(score):
    with pytest.raises(InputError, match=r"drift of terminal 'b' is (nan|inf)"):
        allocate({"a": 1.0, "b": score}, 100, least=10, most=60)


def test_impossible_budgets_are_refused():
    with pytest.raises(ConfigError, match="20 frames do not give 3 terminals 10 each"):
        allocate({"a": 1.0, "b": 1.0, "c": 1.0}, 20, least=10, most=60)
    with pytest.raises(ConfigError, match="least_frames <= budget_frames"):
        SamplingConfig(budget_frames=10, least_frames=24)
