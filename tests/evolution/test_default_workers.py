"""How many workers a run has where nobody says."""

import pytest

from nestevo_hw.evolution.execution import ExecutionConfig, evened, open_executor
from nestevo_hw.profiler.target import CPU


@pytest.mark.parametrize(
    ("cores", "terminals", "workers"),
    [(1, 3, 1), (2, 1, 2), (2, 2, 2), (2, 3, 3), (2, 4, 2), (2, 5, 3), (4, 3, 4), (4, 5, 5), (4, 6, 6), (4, 7, 4)],
)
def test_terminals_come_out_even_on_up_to_half_as_many_workers_again(cores, terminals, workers):
    assert evened(cores, terminals) == workers


@pytest.mark.parametrize(("asked", "cores", "workers"), [(0, 2, 3), (2, 2, 2), (0, 64, 4), (5, 2, 5)])
def test_a_number_that_is_given_holds(asked, cores, workers, monkeypatch, tmp_path):
    opened = {}
    monkeypatch.setattr("nestevo_hw.evolution.execution.LocalExecutor", lambda **given: opened.update(given))
    monkeypatch.setattr("nestevo_hw.evolution.execution.usable_cores", lambda: cores)
    config = ExecutionConfig(device="cpu", workers=asked)
    open_executor(config, tmp_path, seed=0, terminals=3, server=None, on_event=print, target=CPU)
    assert opened["workers"] == workers
