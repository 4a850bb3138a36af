"""Life-cycle performance against worked cases."""

import pytest

from nestevo_hw.evolution.lifecycle import EvolvingTime, life_cycle_performance


def test_a_quarter_of_the_window_at_the_old_accuracy():
    assert life_cycle_performance(0.4, 0.8, 25.0, 100.0) == pytest.approx(0.7)


def test_an_evolution_that_outlasts_its_window_is_refused():
    with pytest.raises(ValueError, match="not within the window"):
        life_cycle_performance(0.4, 0.8, 101.0, 100.0)


def test_parts_add_up():
    assert EvolvingTime(communication_s=1.0, waiting_s=2.0, training_s=3.5).total_s == 6.5
