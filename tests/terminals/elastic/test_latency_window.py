"""Drawing within a window of latency, against enumeration."""

import random
from collections import Counter

import pytest
from elastic_spaces import space_of, times_of
from scipy.stats import chisquare

from nestevo_hw.terminals.elastic.window import LatencyWindow

SPACE = space_of(6, taps=(2,))
TIMES = times_of(SPACE)


def fits(window):
    return [path for path in SPACE.paths() if window.least_s <= TIMES.time(path) <= window.most_s]


@pytest.mark.parametrize("share", [0.65, 0.75, 0.95])
def test_every_path_of_the_window_is_drawn_as_often_as_any_other(share):
    window = LatencyWindow.around(SPACE, TIMES, share * TIMES.time(SPACE.base))
    expected = fits(window)
    generator = random.Random(3)
    seen = Counter(window.draw(generator) for _ in range(20 * len(expected)))
    assert set(seen) <= set(expected)
    assert chisquare([seen[path] for path in expected]).pvalue > 0.001
    assert len(expected) <= window.candidates < 1.3 * len(expected)


def test_a_window_that_no_path_meets_gives_none():
    fastest = min(TIMES.time(path) for path in SPACE.paths())
    for least, most in [(0, fastest * 0.99), (1.0, 2.0)]:
        assert LatencyWindow(SPACE, TIMES, least, most).draw(random.Random(0)) is None
    with pytest.raises(ValueError, match="no window"):
        LatencyWindow(SPACE, TIMES, 0.0, 0.0)


def test_a_window_around_one_path_draws_that_one():
    path = SPACE.path_at(100)
    took = TIMES.time(path)
    assert LatencyWindow(SPACE, TIMES, took, took).draw(random.Random(0)) == path


def test_a_network_of_sixty_blocks_is_counted_not_listed():
    space = space_of(60)
    times = times_of(space)
    window = LatencyWindow.around(space, times, 0.6 * times.time(space.base))
    assert window.candidates > 10**25
    generator = random.Random(0)
    assert all(window.holds(window.draw(generator)) for _ in range(20))
