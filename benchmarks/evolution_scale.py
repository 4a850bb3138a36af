"""What a window costs the driver as terminals and windows grow: its own time, its memory, and the queue it fills.

    python benchmarks/evolution_scale.py [--quick] [--json]

Everything of the driver is real: loop, journal, predictions, scheduling decisions, files of results. The tasks
themselves are SIMULATED: each returns at once what its like returned in a measured run, and its duration on the
simulated clock is a typical one (`SECONDS`, measured on one core with the embedded default). Training a hundred
terminals for this figure would be absurd.
"""

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nestevo_hw.base.documents import json_text
from nestevo_hw.evolution.config import RunConfig, load_preset, parse_config
from nestevo_hw.evolution.costs import TaskCosts
from nestevo_hw.evolution.dispatch import Dispatch
from nestevo_hw.evolution.grouping import form_groups
from nestevo_hw.evolution.journal import Journal
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.loop import EvolutionLoop
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.evolution.server import Server
from nestevo_hw.scheduler.task import Task, TaskFailure, TaskResult

TERMINALS = (3, 10, 30, 100)
WORKERS = 4
SECONDS = {
    "prepare": 12.0, "profile": 2.0, "baseline": 1.0, "capture": 5.0, "sense": 1.0, "inspect": 5.0, "program": 6.0,
    "label": 9.0, "relabel": 9.0, "judge": 3.0, "choose": 1.0, "generate": 1.5, "mutual": 14.0, "merge": 12.0,
    "distil": 7.0, "adapt": 18.0, "re_estimate": 1.0, "export": 2.0, "evaluate": 8.0, "recall": 2.0,
}  # fmt: skip
"""Typical duration of each kind of task."""
PROGRAMMED = {
    "tiles": 90,
    "weight_error": 0.083,
    "score": 0.8,
    "programming": {"time_s": 0.6, "energy_j": 0.002, "wear": 2e-6},
    "labelling": {"first_s": 2e-4, "interval_s": 5e-5},
    "crossbar_frames": 60,
}


def answer(task: Task) -> dict[str, Any]:
    """What a task of its kind returns, as far as the loop reads it."""
    kind, payload = task.name.split("/")[1], task.payload
    words = {"counts": {"1": 40, "2": 60, "3": 20}, "doubtful": 10, "crossbar_frames": 96}
    answers: dict[str, Callable[[], dict[str, Any]]] = {
        "capture": lambda: {"upload_bytes": 5_898_240, "frames": payload["frames"], "fault": None, "spacing_s": 0.5},
        "prepare": lambda: {"gamma": 10.0, "in_domain_scores": [8.0], "classes": ["a", "b", "c"], **PROGRAMMED},
        "profile": dict,
        "sense": lambda: {"agreement": 0.5, "confidence": 0.5},
        "baseline": lambda: {"agreement": 0.8, "confidence": 0.7},
        "inspect": lambda: {"score": 0.79, "crossbar_frames": 60},
        "program": lambda: PROGRAMMED,
        "label": lambda: words,
        "relabel": lambda: words,
        "label-own": lambda: words,
        "label-truly": lambda: words,
        "judge": lambda: {"score": 20.0, "left_out": [], "crossbar_frames": 96},
        "choose": lambda: {"index": 0, "scores": [0.6] * len(payload["candidates"])},
        "generate": lambda: {"label_loss": 0.1, "emd_before": 0.3, "emd_after": 0.2},
        "mutual": lambda: {"loss": 1.0, "steps": 40},
        "merge": lambda: {
            **PROGRAMMED, "accepted": True, "gate_before": 0.8, "gate_after": 0.81, "reason": "within the margin"
        },
        "distil": lambda: {"loss": 1.0, "steps": payload["steps"]},
        "adapt": lambda: {"loss": 1.0, "steps": payload["steps"]},
        "re_estimate": lambda: {"download_bytes": 4_000},
        "average_terminals": dict,
        "export": lambda: {"download_bytes": 2_000_000},
        "evaluate": lambda: {
            "scores": [
                {"model": s["model"], "stage": s["stage"], "score": 0.5, "metrics": {"map50": 0.5}, "frames": 60}
                for s in payload["subjects"]
            ]
        },
        "recall": lambda: {"scores": dict.fromkeys(payload["tests"], 0.5)},
    }  # fmt: skip
    return answers[kind]()


@dataclass
class SimulatedExecutor:
    """Answers at once; its clock runs as if `WORKERS` processes had done the work, longest waiting first.

    Satisfies `nestevo_hw.scheduler.executor.Executor`.
    """

    fails: Callable[[Task], TaskFailure | None] = lambda _: None
    """Says which tasks fail for good."""
    now_s: float = 0.0
    ran: list[str] = field(default_factory=list)
    """Names of the tasks, if `remember`."""
    remember: bool = False
    busy_s: float = 0.0

    def __enter__(self) -> Self:
        """The executor itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to close."""

    def run(
        self,
        tasks: Sequence[Task],
        on_result: Callable[[Task, TaskResult], None] | None = None,
        on_failure: Callable[[Task, TaskFailure], None] | None = None,
    ) -> dict[str, TaskResult]:
        """See `Executor.run`."""
        free, start, results = [self.now_s] * WORKERS, self.now_s, {}
        for task in tasks:
            if self.remember:
                self.ran.append(task.name)
            failure = self.fails(task)
            if failure is not None and on_failure is not None:
                on_failure(task, failure)
                continue
            worker = free.index(min(free))
            began, seconds = free[worker], SECONDS.get(task.name.split("/")[1], 1.0)
            free[worker] = began + seconds
            self.busy_s += seconds
            results[task.name] = TaskResult(
                name=task.name, value=answer(task), submitted_s=start, started_s=began, ended_s=free[worker],
                worker=worker, peak_memory_bytes=600_000_000,
            )  # fmt: skip
            if on_result is not None:
                on_result(task, results[task.name])
        self.now_s = max(free)
        return results

    def cancel(self, names: Sequence[str]) -> None:
        """Nothing runs between two calls."""

    def close(self) -> None:
        """Nothing to close."""


def many_terminals(count: int, windows: int) -> RunConfig:
    """The embedded default with more terminals."""
    document = load_preset("quick").document()
    kinds = ("fasterrcnn-tiny-m1", "fasterrcnn-tiny-m2", "fasterrcnn-tiny-m3")
    document["terminals"] = [{"name": f"t{k}", "model": kinds[k % 3], "place": f"place {k}"} for k in range(count)]
    document["window"]["count"] = windows
    document["execution"]["keep_windows"] = 2
    return parse_config(document, source="benchmark")


def drive(config: RunConfig, folder: Path, executor: SimulatedExecutor) -> Server:
    """A whole run with simulated tasks, from an empty folder or one to resume."""
    layout = RunLayout(folder)
    layout.windows.mkdir(parents=True, exist_ok=True)
    journal, costs = Journal(layout, executor, lambda _: None), TaskCosts(config, on_gpu=False)
    dispatch = Dispatch(config, journal, costs)
    server = Server(config, layout, journal, dispatch, costs, form_groups(config, layout, dispatch))
    EvolutionLoop(server, METHODS[config.method]).run()
    return server


def measure(count: int, windows: int) -> dict[str, Any]:
    """Driver's time, and the simulated clock's, a window."""
    with tempfile.TemporaryDirectory() as folder:
        executor = SimulatedExecutor()
        began = time.perf_counter()
        drive(many_terminals(count, windows), Path(folder), executor)
        driver_s = (time.perf_counter() - began) / windows
        return {
            "terminals": count,
            "windows": windows,
            "driver_s_per_window": driver_s,
            "simulated_s_per_window": executor.now_s / windows,
            "driver_share": driver_s / (executor.now_s / windows),
            "workers_busy": executor.busy_s / (WORKERS * executor.now_s),
        }


def memory_growth(windows: int) -> dict[str, Any]:
    """Largest resident set of the driver after a few windows and after many, three terminals."""
    found = {}
    for count in (windows // 10, windows):
        with tempfile.TemporaryDirectory() as folder:
            drive(many_terminals(3, count), Path(folder), SimulatedExecutor())
        found[count] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    few, many = found.values()
    return {"windows": list(found), "largest_bytes": [few, many], "grown_bytes_per_window": (many - few) / windows}


def main() -> None:
    """Measure, and print a table or one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 and 30 terminals, 20 windows")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    growth = memory_growth(20 if options.quick else 300)
    sizes = (3, 30) if options.quick else TERMINALS
    points = [measure(count, 2 if options.quick else 5) for count in sizes]
    document = {"tasks": "simulated", "workers": WORKERS, "points": points, "memory": growth}
    if options.json:
        print(json_text(document))
        return
    print(f"tasks simulated, {WORKERS} workers; the driver's own time is measured")
    print(
        f"{'terminals':>9} {'driver s/window':>16} {'tasks s/window (simulated)':>27} {'driver share':>13} {'busy':>6}"
    )
    for p in points:
        print(
            f"{p['terminals']:9d} {p['driver_s_per_window']:16.3f} {p['simulated_s_per_window']:27.1f} "
            f"{p['driver_share']:13.2%} {p['workers_busy']:6.0%}"
        )
    few, many = growth["windows"]
    print(
        f"driver's largest resident set after {few} windows {growth['largest_bytes'][0] / 1e6:.0f} MB, after {many} "
        f"{growth['largest_bytes'][1] / 1e6:.0f} MB ({growth['grown_bytes_per_window'] / 1e3:.1f} kB a window)"
    )


if __name__ == "__main__":
    main()
