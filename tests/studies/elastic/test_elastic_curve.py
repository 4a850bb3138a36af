"""The line of the best paths, against brute force."""

import random

import pytest

from nestevo_hw.models.elastic.space import Branch
from nestevo_hw.pages.style import LIGHT
from nestevo_hw.studies.elastic.curve import draw_timeline, frontier
from nestevo_hw.terminals.elastic.adapting import Adapted
from nestevo_hw.terminals.elastic.pool import Candidate, Pool


def test_the_frontier_is_what_nothing_faster_beats():
    drawn = random.Random(0)
    pool = Pool(tuple(Candidate((Branch(k),), drawn.randint(1, 9) / 100, drawn.randint(1, 9) / 10) for k in range(40)))
    wanted = {
        (one.seconds, one.accuracy) for one in pool.candidates
        if all(other.accuracy < one.accuracy for other in pool.candidates if other.seconds < one.seconds)
        and all(other.accuracy <= one.accuracy for other in pool.candidates if other.seconds == one.seconds)
    }  # fmt: skip
    found = frontier(pool)
    assert {(one.seconds, one.accuracy) for one in found} == wanted
    assert [one.seconds for one in found] == sorted(one.seconds for one in found)


@pytest.mark.parametrize(("longest", "scale"), [(0.004, "linear"), (0.125, "log")])
def test_a_stall_does_not_hide_the_times_of_other_frames(longest, scale):
    adapted = Adapted(budget_s=0.001, seconds=(0.0008,) * 20 + (longest,), changes=(), burden=None)
    (axes,) = draw_timeline(adapted, LIGHT).axes
    assert axes.get_yscale() == scale
