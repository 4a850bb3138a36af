"""The upload budget: never exceeded, never wasted, and in proportion to drift."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestevo_hw.errors import ConfigError
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


def test_impossible_budgets_are_refused():
    with pytest.raises(ConfigError, match="20 frames do not give 3 terminals 10 each"):
        allocate({"a": 1.0, "b": 1.0, "c": 1.0}, 20, least=10, most=60)
    with pytest.raises(ConfigError, match="least_frames <= budget_frames"):
        SamplingConfig(budget_frames=10, least_frames=24)
