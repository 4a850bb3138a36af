"""Paths that share their beginnings, against each path alone."""

import random
import weakref

import numpy as np
import pytest
from elastic_spaces import space_of, times_of

from nestevo_hw.models.elastic.space import Branch
from nestevo_hw.terminals.elastic.reuse import outputs, work

SPACE = space_of(8)
TIMES = times_of(SPACE)
PATHS = [SPACE.sample(random.Random(seed)) for seed in range(50)]
WEIGHTS = {b: np.random.default_rng(n).normal(size=(16, 16)).astype(np.float32) for n, b in enumerate(SPACE.branches)}


def block(branch, feature):
    return np.tanh(feature @ WEIGHTS[branch])


def test_each_path_gives_what_it_gives_alone_to_the_bit():
    batches = [np.random.default_rng(seed).normal(size=(4, 16)).astype(np.float32) for seed in range(3)]
    paths = [*PATHS, PATHS[0]]
    calls = []

    def counted(branch, feature):
        calls.append(branch)
        return block(branch, feature)

    found = {}
    numbers = []
    for number, path, output in outputs(paths, batches, counted):
        numbers.append(number)
        found[number, path] = output
    assert numbers == sorted(numbers)
    assert len(found) == len(numbers) == len(batches) * len(paths)
    for (number, path), output in found.items():
        alone = batches[number]
        for branch in paths[path]:
            alone = block(branch, alone)
        assert np.array_equal(output, alone)
    prefixes = {path[:length] for path in PATHS for length in range(1, len(path) + 1)}
    assert len(calls) == len(batches) * len(prefixes)


ALIVE = weakref.WeakSet()


class Feature:
    def __init__(self):
        ALIVE.add(self)


@pytest.mark.parametrize("paths", [PATHS, list(space_of(5).paths())], ids=["fifty", "all"])
def test_no_more_features_live_than_the_longest_path_has_branches(paths):
    most = 0

    def run(branch, given):
        nonlocal most
        made = Feature()
        most = max(most, len(ALIVE))
        return made

    for found in outputs(paths, [None, None], run):
        del found
    longest = max(map(len, paths))
    assert 2 < most <= longest
    assert not ALIVE
    if len(paths) > 50:
        assert most == longest  # the bound is met where every beginning goes on in several ways


def test_a_chain_keeps_nothing_but_its_last_feature():
    most = 0

    def run(branch, given):
        nonlocal most
        made = Feature()
        most = max(most, len(ALIVE))
        return made

    assert len(list(outputs([SPACE.base], [None], run))) == 1
    assert most == 2


def test_the_work_of_shared_beginnings_is_counted_once():
    one, other = (Branch(0), Branch(1), Branch(2)), (Branch(0), Branch(1, 2))
    a, b, c, merged = map(TIMES.of, (Branch(0), Branch(1), Branch(2), Branch(1, 2)))
    found = work([one, other], TIMES)
    assert found.alone_s == pytest.approx(2 * a + b + c + merged)
    assert found.shared_s == pytest.approx(a + b + c + merged)
    assert found.saved == pytest.approx(found.alone_s / found.shared_s)
