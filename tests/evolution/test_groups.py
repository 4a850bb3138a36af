"""Groups: every terminal in exactly one, near ones together, the same every time."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.evolution.groups import named_groups, similar_groups

POINT = st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3))


@settings(deadline=None)  # the first example imports scikit-learn
@given(
    points=st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), POINT, min_size=1, max_size=8), data=st.data()
)
def test_every_terminal_is_in_exactly_one_group(points, data):
    count = data.draw(st.integers(1, len(points)))
    groups = similar_groups(points, count, standardise=False)
    assert len(groups) == count
    assert sorted(name for members in groups.values() for name in members) == sorted(points)
    assert groups == similar_groups(points, count, standardise=False)


def test_neighbours_are_grouped():
    places = {"a": (0.0, 0.0), "b": (900.0, 10.0), "c": (10.0, 5.0), "d": (905.0, 0.0), "e": (5.0, 900.0)}
    assert similar_groups(places, 3, standardise=False) == {
        "group1": ("a", "c"), "group2": ("b", "d"), "group3": ("e",),
    }  # fmt: skip


def test_features_count_by_their_spread():
    """A dimension in large units outweighs two others, unless each counts by its own spread."""
    points = {"a": (0.0, 0.0, 0.0), "b": (900.0, 0.0, 0.0), "c": (0.0, 1.0, 1.0), "d": (900.0, 1.0, 1.0)}
    assert similar_groups(points, 2, standardise=False) == {"group1": ("a", "c"), "group2": ("b", "d")}
    assert similar_groups(points, 2, standardise=True) == {"group1": ("a", "b"), "group2": ("c", "d")}


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), reach=st.floats(5.0, 900.0))
def test_a_distance_makes_the_groups_that_scipy_finds(seed, reach):
    table = np.random.default_rng(seed).uniform(0, 500, (7, 2))
    labels = fcluster(linkage(table, "ward"), reach, criterion="distance")
    expected = {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels)}
    found = similar_groups({f"t{k}": tuple(row) for k, row in enumerate(table)}, standardise=False, distance=reach)
    assert {frozenset(int(name[1:]) for name in members) for members in found.values()} == expected


def test_features_that_all_terminals_share_say_nothing():
    """Also where that is all of them: such terminals are alike."""
    same = {"a": (1.0, 2.0), "b": (1.0, 2.0), "c": (1.0, 2.0)}
    groups = similar_groups(same, 2, standardise=True)
    assert sorted(name for members in groups.values() for name in members) == ["a", "b", "c"]
    assert similar_groups(same, standardise=True, distance=0.1) == {"group1": ("a", "b", "c")}
    rounded = {"a": (0.1 + 0.2, 0.0), "b": (0.3, 0.0), "c": (0.3, 5.0)}
    assert similar_groups(rounded, 2, standardise=True) == {"group1": ("a", "b"), "group2": ("c",)}


def test_one_terminal_is_one_group():
    assert similar_groups({"a": (1.0,)}, standardise=True, distance=1.0) == {"group1": ("a",)}


@pytest.mark.parametrize("point", [(math.nan, 0.0), (math.inf, 0.0), (1.0,)])
def test_broken_coordinates_are_refused(point):
    with pytest.raises(InputError, match=r"terminal 'b': expected 2 finite coordinates"):
        similar_groups({"a": (0.0, 0.0), "b": point, "c": (1.0, 1.0)}, 2, standardise=True)


def test_names_make_groups_and_must_be_complete():
    assert named_groups({"a": "north", "b": "south", "c": "north"}) == {"north": ("a", "c"), "south": ("b",)}
    with pytest.raises(ConfigError, match=r"terminal 'b': .* needs a group for every terminal"):
        named_groups({"a": "north", "b": None})


def test_impossible_numbers_are_refused():
    with pytest.raises(ConfigError, match="3 groups are wanted of 2 terminals"):
        similar_groups({"a": (0.0,), "b": (1.0,)}, 3, standardise=False)
    with pytest.raises(ConfigError, match="0 groups are wanted"):
        similar_groups({"a": (0.0,), "b": (1.0,)}, 0, standardise=False)
    with pytest.raises(ConfigError, match="either a count or a distance"):
        similar_groups({"a": (0.0,), "b": (1.0,)}, standardise=False)
    with pytest.raises(ConfigError, match="distance above 0"):
        similar_groups({"a": (0.0,), "b": (1.0,)}, standardise=False, distance=0.0)
