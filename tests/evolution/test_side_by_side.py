"""Steps that need nothing of one another run together, so that workers have work; what is measured stays apart."""

from collections import Counter

import pytest

from nestevo_hw.evolution.config import load_preset, override
from nestevo_hw.evolution.steps.table import STEPS
from nestevo_hw.testing.simulated import Asked, SimulatedExecutor, drive


class Watched(SimulatedExecutor):
    """Keeps how many tasks of each window and kind it was given together."""

    def run(self, tasks, on_result=None, on_failure=None):
        ids = [Asked.of(task).id for task in tasks]
        self.together = [*getattr(self, "together", []), Counter((id_.window, id_.kind) for id_ in ids)]
        return super().run(tasks, on_result, on_failure)


def driven(folder, analog="pcm"):
    executor = Watched(workers=2)
    config = override(load_preset("quick"), {"teacher": {"analog": analog}, "window": {"count": 2}})
    drive(config, folder, executor)
    return executor


def test_frames_are_captured_while_the_teacher_is_prepared_and_windows_are_scored(tmp_path):
    found = driven(tmp_path / "run").together
    assert set(found[0]) == {(None, "prepare"), (None, "dry-run"), (0, "capture")}
    assert {(0, "evaluate"), (0, "baseline"), (1, "capture")} in [set(batch) for batch in found]


@pytest.mark.parametrize(("analog", "together"), [("pcm", True), ("digital", False)])
def test_drift_is_detected_beside_labelling_where_neither_is_timed(analog, together, tmp_path):
    """A digital teacher's labels are part of the measured delay, and waiting for others' drift is not."""
    labelling = next(batch for batch in driven(tmp_path / "run", analog).together if (0, "label") in batch)
    assert ((0, "detect-drift") in labelling) is together


def test_two_workers_idle_less_than_step_after_step(tmp_path):
    """In a run of three cameras and two windows, by what each task took once."""
    executor = driven(tmp_path / "run")
    counts = sum(executor.together, Counter())
    apart_s = sum(STEPS[kind].typical_s * -(-count // 2) for (_, kind), count in counts.items())
    assert executor.busy_s / 2 < executor.now_s < apart_s - 20.0


def test_what_evolved_models_could_replace_is_compared_while_they_learn(tmp_path):
    """The longer step first, as both are waited for."""
    executor = driven(tmp_path / "run")
    together = [set(batch) for batch in executor.together]
    assert {(0, "distil"), (0, "rank")} in together
    assert STEPS["rank"].priority < STEPS["distil"].priority
