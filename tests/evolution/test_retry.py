"""A resumed run tries again what a worker's death cost it, and takes the turns of a run without one."""

import json

import pytest
from test_long_runs import config, events

from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.retry import deaths, forget_deaths
from nestevo_hw.evolution.taskid import TaskId
from nestevo_hw.scheduler.task import TaskFailure
from nestevo_hw.testing import simulated

WINDOWS = 3


def failing(error_type):
    def fails(asked):
        if asked.id == TaskId(1, "mutual", "village"):
            return TaskFailure(name=str(asked.id), reason="its worker was killed", attempts=2, error_type=error_type)
        return None

    return simulated.SimulatedExecutor(fails=fails)


def drive(folder, executor):
    simulated.drive(config(WINDOWS), folder, executor)
    return [event for kind in ("accuracy", "lifecycle", "failure") for event in events(folder, kind)]


def test_after_a_death_the_window_and_all_later_ones_run_again(tmp_path):
    whole = drive(tmp_path / "whole", simulated.SimulatedExecutor())
    layout = RunLayout(tmp_path / "run")
    assert drive(layout.root, failing("")) != whole
    assert deaths(layout) == [1]
    forget_deaths(layout, files_kept=True)
    again = simulated.SimulatedExecutor(remember=True)
    assert drive(layout.root, again) == whole
    assert {asked.id.window for asked in again.asked} == {1, 2}
    assert deaths(layout) == []


def test_where_old_files_are_gone_all_windows_run_again(tmp_path):
    layout = RunLayout(tmp_path / "run")
    drive(layout.root, failing(""))
    forget_deaths(layout, files_kept=False)
    again = simulated.SimulatedExecutor(remember=True)
    drive(layout.root, again)
    assert {asked.id.window for asked in again.asked} == {0, 1, 2}


@pytest.mark.parametrize("error_type", ["InputError", "TaskError"])
def test_a_failure_of_its_own_is_kept(error_type, tmp_path):
    layout = RunLayout(tmp_path / "run")
    drive(layout.root, failing(error_type))
    before = sorted(layout.results.iterdir())
    forget_deaths(layout, files_kept=True)
    assert sorted(layout.results.iterdir()) == before
    assert json.loads((layout.results / "w1.mutual.village.json").read_text())["failed"]["error_type"] == error_type
