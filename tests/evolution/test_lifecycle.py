"""Life-cycle performance against worked cases."""

import pytest

from nestevo_hw.config import LinkConfig
from nestevo_hw.evolution.lifecycle import EvolvingTime, account, life_cycle_performance
from nestevo_hw.scheduler.task import TaskResult


def test_a_quarter_of_the_window_at_the_old_accuracy():
    assert life_cycle_performance(0.4, 0.8, 25.0, 100.0) == pytest.approx(0.7)


def test_an_evolution_that_outlasts_its_window_is_refused():
    with pytest.raises(ValueError, match="not within the window"):
        life_cycle_performance(0.4, 0.8, 101.0, 100.0)


def test_parts_add_up():
    assert EvolvingTime(communication_s=1.0, waiting_s=2.0, training_s=3.5).total_s == 6.5


def task(submitted_s, started_s, ended_s, **value):
    return TaskResult(
        name="x", value=value, submitted_s=submitted_s, started_s=started_s, ended_s=ended_s, worker=0,
        peak_memory_bytes=1,
    )  # fmt: skip


def test_an_evolution_is_accounted_from_label_to_export():
    """10 MB up at 20 Mbit/s are 4 s, 5 MB down at 50 are 0.8 s; 6 s of work in a span of 10 s leave 4 s of waiting."""
    own = [task(100.0, 102.0, 105.0), task(105.0, 107.0, 110.0, download_bytes=5e6)]
    captured = task(90.0, 90.0, 91.0, upload_bytes=10e6)
    link = LinkConfig(upload_mbit_s=20.0, download_mbit_s=50.0)
    life = account(own, captured, 0.2, 0.6, link, 148.0)
    assert life["parts"] == pytest.approx({"communication_s": 4.8, "waiting_s": 4.0, "training_s": 6.0})
    assert life["evolving_s"] == pytest.approx(14.8)
    assert life["lcp"] == pytest.approx(0.2 * 0.1 + 0.6 * 0.9)
    assert account(own, captured, 0.2, 0.6, link, 5.0)["lcp"] == pytest.approx(0.2)
