"""Keeping to a budget on made-up times of frames: nothing here waits for a clock."""

import math
import random

import pytest

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.models.elastic.space import Branch
from nestevo_hw.terminals.elastic.keeper import Keeper
from nestevo_hw.terminals.elastic.monitor import Monitor, MonitorSettings
from nestevo_hw.terminals.elastic.pool import Candidate, Pool

SIZES = range(1, 11)
POOL = Pool(tuple(Candidate((Branch(size),), size / 1000, 0.5 + size / 100) for size in SIZES))
"""Paths of 1 to 10 ms, the slower the better."""


def noise(generator, spread):
    return math.exp(generator.gauss(0, spread))


def test_a_moving_average_of_twenty_frames_follows_slow_changes():
    monitor = Monitor(MonitorSettings(hysteresis=1.0))
    expected, ratios = 1.0, [1 + 0.002 * n for n in range(60)]
    for ratio in ratios:
        monitor.frame(ratio)
        expected += 2 / 21 * (ratio - expected)
    assert monitor.average == pytest.approx(expected)


def test_rho_moves_only_by_more_than_the_hysteresis():
    monitor = Monitor(MonitorSettings())
    assert not any(monitor.frame(1.09) for _ in range(500))
    assert monitor.rho == 1.0
    assert any(monitor.frame(1.12) for _ in range(500))
    assert monitor.rho == pytest.approx(1.11, abs=0.01)


@pytest.mark.parametrize(("factor", "within"), [(1.5, 2), (2.0, 2), (3.0, 2), (1.25, 6), (1 / 1.5, 3)])
def test_a_jump_is_seen_at_once(factor, within):
    late = []
    for seed in range(300):
        generator, monitor = random.Random(seed), Monitor(MonitorSettings())
        for _ in range(100):
            monitor.frame(noise(generator, 0.05))
        for frame in range(1, 100):
            if monitor.frame(factor * noise(generator, 0.05)):
                late.append(frame)
                assert monitor.rho == pytest.approx(factor, rel=0.15)
                break
    assert len(late) == 300
    assert sorted(late)[round(0.95 * 300)] <= within


def test_noise_and_single_slow_frames_change_nothing():
    generator, monitor = random.Random(0), Monitor(MonitorSettings())
    for frame in range(20_000):
        stall = 4.0 if frame % 97 == 0 else 1.0
        assert not monitor.frame(stall * noise(generator, 0.05))


def test_a_frame_that_stalled_says_nothing_of_how_slow_the_others_are():
    monitor = Monitor(MonitorSettings())
    for ratio in [1.0] * 20 + [40.0, 1.3]:
        monitor.frame(ratio)
    assert monitor.rho <= 1.3


def test_a_frame_without_a_time_says_nothing():
    monitor = Monitor(MonitorSettings())
    for ratio in (0.0, math.nan, math.inf, -1.0):
        assert not any(monitor.frame(ratio) for _ in range(10))
    assert monitor.average == monitor.rho == 1.0


def test_settings_by_which_one_frame_is_a_jump_are_refused():
    with pytest.raises(ValueError, match="one frame raises the alarm"):
        MonitorSettings(most=0.9)


def drive(keeper, rhos, spread=0.03, seed=0):
    """Changes by the number of their frame, on a device that is slower by each of `rhos`."""
    generator, changes = random.Random(seed), {}
    for frame, rho in enumerate(rhos):
        change = keeper.frame(keeper.running.seconds * rho * noise(generator, spread))
        if change is not None:
            changes[frame] = change
    return changes


def test_a_slow_down_is_followed_within_two_frames_and_taken_back_after_it():
    keeper = Keeper(POOL, 9.5e-3)
    assert keeper.running.seconds == 9e-3
    changes = drive(keeper, [1.0] * 100 + [1.5] * 200 + [1.0] * 200)
    first, *_, last = changes
    assert first <= 101  # the second frame of the slow-down: the third runs on the new path
    assert changes[first].to.seconds == pytest.approx(6e-3, abs=1.1e-3)
    assert 300 <= last < 380
    assert changes[last].to.seconds >= 8e-3
    assert len(changes) <= 4
    assert all(change.fits for change in changes.values())


def test_a_slower_path_waits_until_the_one_that_runs_has_run_for_long_enough():
    keeper = Keeper(POOL, 9.5e-3, dwell=50)
    changes = drive(keeper, [1.0] * 100 + [1.5] * 5 + [1.0] * 200, spread=0.0)
    down, up = sorted(changes)
    assert down == 101
    assert up == down + 50
    assert changes[up].to.seconds == 9e-3


def test_a_speed_that_comes_and_goes_makes_no_more_changes_than_the_dwell_lets_it():
    keeper = Keeper(POOL, 9.5e-3, dwell=50)
    changes = drive(keeper, ([1.0] * 10 + [1.5] * 10) * 50)
    assert len(changes) <= 2 * (1000 / 50 + 1)


def test_where_nothing_fits_the_fastest_runs_until_a_new_search():
    keeper = Keeper(POOL, 9.5e-3)
    changes = drive(keeper, [1.0] * 50 + [20.0] * 50)
    due = [change for change in changes.values() if not change.fits]
    assert due
    assert keeper.running is POOL.fastest
    assert keeper.rho == pytest.approx(20, rel=0.2)
    faster = Candidate((Branch(11),), 0.1e-3, 0.4)
    change = keeper.renew(Pool((*POOL.candidates, faster)))
    assert change.fits
    assert keeper.running is faster


def test_impossible_budgets_and_dwells_are_refused():
    with pytest.raises(ConfigError, match="latency budget, s: need a number above 0"):
        Keeper(POOL, math.nan)
    with pytest.raises(ConfigError, match="dwell: need a number from 0"):
        Keeper(POOL, 1.0, dwell=-1)


def test_another_pool_of_the_same_best_changes_nothing():
    keeper = Keeper(POOL, 9.5e-3)
    assert keeper.renew(POOL) is None
