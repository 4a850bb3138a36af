"""Paths through a supernet, against enumeration by itertools."""

import itertools
import random
from collections import Counter

import pytest
from scipy.stats import chisquare

from nestevo_hw.base.documents import json_text, parse_json, plain
from nestevo_hw.base.errors import InputError
from nestevo_hw.models.elastic.space import Branch, PathSpace, all_branches

SPACE = PathSpace(5, all_branches(5, taps=(1,), rates=(0.3,)))


def by_brute_force(space):
    """Every sequence of branches that tiles the blocks."""
    found = set()
    for length in range(1, space.blocks + 1):
        for some in itertools.combinations(space.branches, length):
            covered = [block for branch in some for block in range(branch.start, branch.end)]
            if covered == list(range(space.blocks)):
                found.add(some)
    return found


def test_paths_are_all_that_tile_the_blocks():
    expected = by_brute_force(SPACE)
    listed = list(SPACE.paths())
    assert set(listed) == expected
    assert len(listed) == len(expected) == SPACE.count
    assert [SPACE.path_at(index) for index in range(SPACE.count)] == listed
    assert SPACE.base in expected


def test_no_merge_hides_a_tap():
    merged = {branch.name for branch in SPACE.branches if branch.span > 1}
    assert merged == {"0-1", "2-3", "3-4", "2-4"}


def test_sampling_is_uniform():
    generator = random.Random(5)
    seen = Counter(SPACE.sample(generator) for _ in range(40 * SPACE.count))
    assert len(seen) == SPACE.count
    assert chisquare(list(seen.values())).pvalue > 0.001


def test_a_space_of_a_hundred_blocks_is_counted_and_sampled():
    space = PathSpace(100, all_branches(100))
    assert space.count > 10**50
    assert space.holds(space.sample(random.Random(0)))
    # a(n) = 3 a(n-1) + a(n-2) + a(n-3)
    ways = [1, 3, 10]
    while len(ways) <= 100:
        ways.append(3 * ways[-1] + ways[-2] + ways[-3])
    assert space.count == ways[100]


def test_what_is_no_path_is_told():
    assert not SPACE.holds(SPACE.base[:-1])
    assert not SPACE.holds(SPACE.base[1:])
    assert not SPACE.holds((Branch(0), Branch(1, 2), *SPACE.base[3:]))  # over the tap
    assert not SPACE.holds((Branch(0, 2), *SPACE.base[1:]))
    with pytest.raises(IndexError, match="among"):
        SPACE.path_at(SPACE.count)


@pytest.mark.parametrize("branch", [(0, 4, 0), (0, 2, 0.5), (-1, 1, 0), (0, 1, 1.0)])
def test_impossible_branches_cannot_be_made(branch):
    with pytest.raises(ValueError, match="branch"):
        Branch(*branch)


@pytest.mark.parametrize("branches", [(Branch(0),), (Branch(1), Branch(0)), (Branch(0), Branch(1), Branch(1, 2))])
def test_impossible_spaces_cannot_be_made(branches):
    with pytest.raises(ValueError, match="branch"):
        PathSpace(2, branches)


def test_a_space_and_a_path_come_back_from_a_file():
    assert parse_json(json_text(plain(SPACE)), PathSpace, "x") == SPACE
    path = SPACE.path_at(7)
    assert parse_json(json_text(plain(path)), tuple[Branch, ...], "x") == path
    with pytest.raises(InputError, match=r"x: branches\[0\]: a branch is merged or shrunk"):
        parse_json('{"blocks": 1, "branches": [{"start": 0, "span": 2, "shrink": 0.5}]}', PathSpace, "x")
    with pytest.raises(InputError, match=r"x: branches\[0\].span: .*from 1 to 3"):
        parse_json('{"blocks": 1, "branches": [{"start": 0, "span": 7}]}', PathSpace, "x")
