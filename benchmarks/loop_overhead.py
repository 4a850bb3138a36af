"""What the loop adds to bare training steps: starting a worker, reading and writing files, choosing the next task.

    python benchmarks/loop_overhead.py [--quick] [--json]

One evolution window of the embedded default runs with one worker. Measured in that run: the time of the training tasks
beyond their optimiser steps, and the time between tasks in which nothing runs. Both as shares of the bare steps.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from nestevo_hw.base.documents import json_text, read_json
from nestevo_hw.evolution.config import load_preset, override
from nestevo_hw.evolution.run import evolve
from nestevo_hw.report.events import read_run
from nestevo_hw.report.records.work import TaskRun

TRAINING = ("mutual", "distil")
GOAL = 0.05


def measure(steps: int) -> dict[str, Any]:
    """Shares of one window's run."""
    changes = {
        "window.count": 1, "execution.workers": 1, "trigger.mode": "off", "mutual.plan.steps": steps,
        "distil.plan.steps": steps, "drift.gamma": 0.0, "labels.confirm": False, "reference.frames_per_segment": 6,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        evolve(override(load_preset("quick"), changes), run)
        tasks = sorted(read_run(run).of(TaskRun), key=lambda t: t.started_s)
        steps_s = sum(
            read_json(path, dict[str, Any])["value"].get("trained", {}).get("trained_s", 0.0)
            for path in run.glob("results/*.json")
        )
    trainings = [t for t in tasks if t.kind in TRAINING]
    tasks_s = sum(t.ended_s - t.started_s for t in trainings)
    first = next(k for k, t in enumerate(tasks) if t.window == 0)
    between_s = sum(max(b.started_s - a.ended_s, 0.0) for a, b in zip(tasks[first:], tasks[first + 1 :], strict=False))
    own_s = between_s * len(trainings) / len(tasks[first:])
    return {
        "optimiser_steps": steps,
        "training_tasks": len(trainings),
        "bare_steps_s": steps_s,
        "in_tasks": tasks_s / steps_s - 1,
        "between_tasks": own_s / steps_s,
        "overhead": (tasks_s + own_s) / steps_s - 1,
        "goal": GOAL,
    }


def main() -> None:
    """Measure, and print a table or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="four steps a task in place of the default's forty")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    found = measure(4 if options.quick else 40)
    if options.json:
        print(json_text(found))
        return
    print(
        f"{found['training_tasks']} training tasks of {found['optimiser_steps']} steps, {found['bare_steps_s']:.1f} s"
    )
    print(f"added in the tasks (worker, files)  {found['in_tasks']:+.1%}")
    print(f"added between tasks (driver)        {found['between_tasks']:+.1%}")
    print(f"together                            {found['overhead']:+.1%}   goal: at most {GOAL:.0%}")


if __name__ == "__main__":
    main()
