"""What the runs of a comparison give: table 4, and what figures 12 and 15 start from."""

import statistics
from collections.abc import Sequence
from pathlib import Path

from nestevo_hw.base.seeding import torch_generator
from nestevo_hw.base.stats import mean
from nestevo_hw.crossbar.noise import weight_noise
from nestevo_hw.evolution.cameras import capture_window
from nestevo_hw.evolution.config import RunConfig, parse_config
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.run import stored_config
from nestevo_hw.models.checkpoint import load_model
from nestevo_hw.report.events import Run, read_run
from nestevo_hw.report.records.work import TaskRun
from nestevo_hw.scheduler.machine import Machine
from nestevo_hw.scheduler.policies import policy_named
from nestevo_hw.scheduler.simulator import Reality, simulate
from nestevo_hw.scheduler.task import Task
from nestevo_hw.studies.compare.results import read_outcome
from nestevo_hw.studies.compare.variants import A1, A2, A3, A4, NESTEVO
from nestevo_hw.studies.reproduce.effort import Effort
from nestevo_hw.studies.reproduce.scenes import TASK, accuracy, mean_of

COMPARED = (A3, A1, A2, A4, NESTEVO)
WITHOUT_NOISE = "without-noise-training"
LEVELS = (0.0, 0.02, 0.04, 0.06)
"""Weight noise that teachers are scored under, of each layer's weight range."""
TRAININGS = ("mutual", "distil")
EVOLUTIONS = 10
"""Of each terminal in figure 12."""
CARD_BYTES, TASK_BYTES = 10_000_000_000, 4_831_000_000
"""Of the paper's card, and of one mutual learning with batches of three, as its figure 13 gives it."""
CONTENTIONS = {"apart": 0.0, "shared": 1.0}
"""How much longer a task takes for each beside it: not at all, or as if they took turns."""
JITTER = 0.2
"""Standard deviation of ln(duration) between evolutions."""


def run_folder(runs: Path, method: str, seed: int) -> Path:
    """Of one run of the comparison."""
    return runs / f"{method}-{seed}"


def methods(runs: Path, seed: int) -> dict[str, float]:
    """Accuracy of terminals and teacher with each method: table 4."""
    found: dict[str, float] = {}
    for method in COMPARED:
        outcome = read_outcome(read_run(run_folder(runs, method, seed)))
        for terminal in dict.fromkeys(name for name, _ in outcome.after):
            values = [value for (name, _), value in outcome.after.items() if name == terminal]
            found[f"{method}/{terminal}"] = mean(values)
        found |= {
            f"{method}/mean": mean(outcome.after.values()), f"{method}/teacher-before": outcome.teacher_before,
            f"{method}/teacher-after": outcome.teacher_after,
        }  # fmt: skip
    return found


def schedules(runs: Path, seed: int) -> dict[str, float]:
    """Mean evolution delay of ten evolutions under B1, B2 and Algorithm 3, of trainings as long as measured."""
    run = read_run(run_folder(runs, NESTEVO, seed))
    tasks, found = _trainings(run), dict[str, float]()
    machine = Machine.single(CARD_BYTES, len(tasks))
    for name, contention in CONTENTIONS.items():
        for policy in ("random", "serial", "knapsack"):
            delays = [
                simulate(
                    tasks, policy_named(policy, seed=lot), machine,
                    Reality(duration_error=JITTER, contention=contention, seed=lot),
                ).mean_turnaround_s
                for lot in range(seed * EVOLUTIONS, (seed + 1) * EVOLUTIONS)
            ]  # fmt: skip
            found[f"{name}/{policy}"] = statistics.fmean(delays)
    return found


def _trainings(run: Run) -> list[Task]:
    """One a terminal: what its trainings took together in a window on the mean, seconds."""
    taken: dict[str, float] = {}
    for event in run.of(TaskRun):
        if event.kind in TRAININGS and event.terminal is not None:
            taken[event.terminal] = taken.get(event.terminal, 0.0) + event.ended_s - event.started_s
    return [
        Task(name=name, function="nestevo_hw:evolve", payload={}, memory_bytes=TASK_BYTES, duration_s=s / run.windows)
        for name, s in taken.items()
    ]


def robustness(effort: Effort, runs: Path, seed: int) -> dict[str, float]:
    """mAP@0.50 of the last averaged teacher under weight noise, learned with such noise and without."""
    found: dict[str, float] = {}
    for name, method in (("noise-aware", NESTEVO), ("plain", WITHOUT_NOISE)):
        folder = run_folder(runs, method, seed)
        averaged = sorted(RunLayout(folder).windows.glob("*/teacher.safetensors"))
        if averaged:
            config = parse_config(stored_config(folder), source=str(folder))
            found |= {
                f"{name}/{level:g}": value
                for level, value in zip(LEVELS, _noisy_scores(averaged[-1], config, effort.draws), strict=True)
            }
            found[f"{name}/loss"] = found[f"{name}/0"] - found[f"{name}/{LEVELS[-1]:g}"]
    return found


def _noisy_scores(path: Path, config: RunConfig, draws: int) -> Sequence[float]:
    """Mean over terminals and draws at each level; each terminal with the statistics of its own frames."""
    window = int(path.parent.name)
    by_level: list[list[float]] = [[] for _ in LEVELS]
    for terminal in config.terminals:
        frames, (model, _) = capture_window(config, terminal.name, window), load_model(path)
        TASK.re_estimate(model, frames.upload.images)
        for level, values in zip(LEVELS, by_level, strict=True):
            random = torch_generator(config.seed, "reproduce/noise", terminal.name)
            for _ in range(draws if level else 1):
                with weight_noise(model, level, random):
                    values.append(accuracy(model, frames.test))
    return [mean_of(values) for values in by_level]
