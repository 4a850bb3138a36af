"""The balanced pipeline and its passes against brute force."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestevo_hw.base.errors import MappingError
from nestevo_hw.crossbar.chips.pipeline import Stage, balanced, passes

LAYERS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 30)), min_size=1, max_size=4)


def stages(layers):
    return [Stage(name=str(i), arrays=a, products=p) for i, (a, p) in enumerate(layers)]


def shortest(layers, arrays):
    """Smallest interval over all numbers of copies, by trying all of them."""
    best = math.inf
    for copies in itertools.product(*(range(1, arrays // a + 1) for a, _ in layers)):
        if sum(a * c for (a, _), c in zip(layers, copies, strict=True)) <= arrays:
            slowest = max(math.ceil(p / c) for (_, p), c in zip(layers, copies, strict=True))
            best = min(best, slowest)
    return best


@given(LAYERS, st.integers(1, 14))
def test_interval_is_the_shortest_there_is(layers, arrays) -> None:
    found, best = balanced(stages(layers), arrays), shortest(layers, arrays)
    if best == math.inf:
        assert found is None
        return
    assert found is not None
    assert found.interval == best
    assert found.arrays <= arrays
    assert all(c >= 1 for c in found.copies)
    assert max(-(-p // c) for (_, p), c in zip(layers, found.copies, strict=True)) == best


@given(LAYERS, st.integers(4, 12))
@settings(max_examples=60)
def test_passes_are_as_few_as_possible_and_cut_at_the_best_places(layers, arrays) -> None:
    best = (math.inf, math.inf)
    for marks in itertools.product((False, True), repeat=len(layers) - 1):
        cuts = [0, *(i + 1 for i, mark in enumerate(marks) if mark), len(layers)]
        parts = [shortest(layers[a:b], arrays) for a, b in itertools.pairwise(cuts)]
        best = min(best, (len(parts) if math.inf not in parts else math.inf, sum(parts)))
    found = passes(stages(layers), arrays)
    assert (len(found), sum(one.interval for one in found)) == best
    assert [stage.name for one in found for stage in one.stages] == [str(i) for i in range(len(layers))]
    assert all(one.arrays <= arrays for one in found)


@given(LAYERS, st.integers(1, 14), st.integers(1, 5))
def test_more_arrays_never_need_more_passes_or_a_longer_pipeline(layers, arrays, more) -> None:
    few, many = passes(stages(layers), arrays), passes(stages(layers), arrays + more)
    assert len(many) <= len(few)
    if len(many) == len(few) == 1:
        assert many[0].interval <= few[0].interval


def test_a_layer_larger_than_the_chip_is_cut() -> None:
    found = passes([Stage(name="large", arrays=7, products=5)], 3)
    assert [[(s.name, s.arrays) for s in one.stages] for one in found] == [
        [("large", 3)],
        [("large", 2)],
        [("large", 2)],
    ]
    assert [one.interval for one in found] == [5, 5, 5]


def test_digital_layers_take_no_arrays() -> None:
    digital = Stage(name="depthwise", arrays=0, products=0, digital_macs=100)
    found = passes([digital, Stage(name="conv", arrays=2, products=9)], 6)
    assert (found[0].copies, found[0].interval, found[0].arrays) == ((0, 3), 3, 6)
    (only,) = passes([digital], 6)
    assert (only.copies, only.interval, only.arrays) == ((0,), 0, 0)


def test_no_arrays_at_all() -> None:
    with pytest.raises(MappingError, match="need at least one array, got 0"):
        passes([Stage(name="conv", arrays=1, products=1)], 0)
