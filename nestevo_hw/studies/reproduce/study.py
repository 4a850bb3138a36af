"""Runs what the chosen items need, each experiment once, and goes on after an interruption."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from nestevo_hw import __version__
from nestevo_hw.base.compute import device_name
from nestevo_hw.base.interruption import resumable
from nestevo_hw.base.jsonlines import Journal
from nestevo_hw.base.locking import require_unused_or_started
from nestevo_hw.base.stats import or_nan, or_none
from nestevo_hw.evolution.run import computed_on
from nestevo_hw.studies.compare.study import (
    Advance,
    StudyPlan,
    Warn,
    check_runs,
    counted_runs,
    plan_study,
    run_all,
)
from nestevo_hw.studies.compare.variants import NESTEVO, choose
from nestevo_hw.studies.reproduce import methods
from nestevo_hw.studies.reproduce.averaging import averages
from nestevo_hw.studies.reproduce.chips import chips
from nestevo_hw.studies.reproduce.compressing import compression, memory
from nestevo_hw.studies.reproduce.drifting import drift, features
from nestevo_hw.studies.reproduce.effort import Effort
from nestevo_hw.studies.reproduce.item import SAME_FOR_ALL, Item
from nestevo_hw.studies.reproduce.results import Found, Reproduction
from nestevo_hw.studies.reproduce.threshold import thresholds

Known = dict[tuple[str, int], dict[str, float | None]]
"""What was measured, by experiment and seed."""
JOURNAL, RUNS = "measured.jsonl", "runs"
COMPARED: Mapping[str, Sequence[str]] = {
    "methods": methods.COMPARED,
    "schedule": (NESTEVO,),
    "noise": (NESTEVO, methods.WITHOUT_NOISE),
}
"""Experiments that begin with runs of the comparison, and whose."""
ALONE: Mapping[str, Callable[[Effort, int], Mapping[str, float]]] = {
    "drift": drift, "average": averages, "features": features, "threshold": thresholds, "memory": memory,
    "compression": compression, "chip": chips,
}  # fmt: skip
"""The others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What one experiment gave with one seed."""

    experiment: str
    seed: int
    values: dict[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What will run."""

    items: tuple[Item, ...]
    effort: Effort
    seeds: tuple[int, ...]
    runs: StudyPlan | None
    """Of the comparison, where an item needs it."""
    experiments: tuple[tuple[str, int], ...] = field(default=())
    """Each with its seed, seed by seed."""
    device: str

    @property
    def steps(self) -> int:
        """How often `run_reproduction` calls `advance`."""
        return len(self.experiments) + (self.runs.steps if self.runs else 0)


def plan_reproduction(items: Sequence[Item], effort: Effort, *, seeds: int, workers: int | None) -> Plan:
    """Check everything before anything runs.

    Args:
        items: to reproduce.
        effort: how much of each.
        seeds: how many, counted up from 0.
        workers: processes of the comparison; None: as many as there are cores, at most four.
    """
    names = list(dict.fromkeys(name for item in items for name in item.experiments()))
    base = effort.comparison(workers)
    compared = dict.fromkeys(method for name in names for method in COMPARED.get(name, ()))
    runs = plan_study(base, choose(compared, ablations=False), seeds) if compared else None
    experiments = tuple(
        (name, seed) for seed in range(seeds) for name in names if not (seed and name in SAME_FOR_ALL)
    )  # fmt: skip
    return Plan(
        items=tuple(items), effort=effort, seeds=tuple(range(seeds)), runs=runs, experiments=experiments,
        device=_device_text(computed_on(base.execution)["device"]),
    )  # fmt: skip


def _device_text(device: str) -> str:
    """What runs of the comparison compute on, and everything else."""
    cpu = device_name(torch.device("cpu"))
    return device if device == cpu else f"{device}; what is no run of a comparison, on {cpu}"


def run_reproduction(
    plan: Plan, folder: Path, *, resume: bool, advance: Advance, on_warning: Warn = lambda _: None
) -> Reproduction:
    """Run what has not finished yet, and read all of it.

    Args:
        plan: what to run.
        folder: for runs and the journal of what was measured.
        resume: go on with what is there.
        advance: called with what has just ended, `plan.steps` times.
        on_warning: as for `run_study`.

    Raises:
        ConfigError: the folder holds something else, or nothing to resume.
        InputError: the journal is damaged.
        TaskError: a run failed.
        StoppedError: stopped by Ctrl-C or a signal; what has finished is kept.
    """
    require_unused_or_started(folder, resume=resume, started=(folder / JOURNAL).is_file(), holds="reproduction")
    identity = {"effort": plan.effort, "version": __version__}
    journal = Journal(folder / JOURNAL, Measured, identity, holds="measurements", resume=resume)
    known = {(record.experiment, record.seed): record.values for record in journal.records}
    if plan.runs is not None:
        _run(plan.runs, folder / RUNS, advance, on_warning)
    _measure(plan, folder, journal, known, advance)
    values = _by_key({key: known[key] for key in plan.experiments}, plan.seeds)
    return Reproduction(
        found=tuple(Found(item=item, values=values) for item in plan.items), seeds=plan.seeds,
        quick=plan.effort.quick, device=plan.device,
    )  # fmt: skip


def _run(runs: StudyPlan, folder: Path, advance: Advance, on_warning: Warn) -> None:
    """What the comparison has not run yet."""
    check_runs(runs, folder, on_warning)
    with counted_runs(folder.parent, len(runs.configs)) as ended:
        run_all(runs, folder, keep_files=False, advance=advance, ended=ended, pages=False)


def _measure(plan: Plan, folder: Path, journal: Journal[Measured], known: Known, advance: Advance) -> None:
    """Every experiment that is not known yet."""
    done = 0
    with resumable(folder, lambda: f"{done} of {len(plan.experiments)} experiments"):
        for name, seed in plan.experiments:
            if (name, seed) not in known:
                found = _experiment(name, plan.effort, folder / RUNS)(seed)
                values = {key: or_none(value) for key, value in found.items()}
                journal.append(Measured(experiment=name, seed=seed, values=values))
                known[name, seed] = values
            done += 1
            advance(f"{name}, seed {seed}")


def _experiment(name: str, effort: Effort, runs: Path) -> Callable[[int], Mapping[str, float]]:
    """What measures one seed."""
    started: Mapping[str, Callable[[int], Mapping[str, float]]] = {
        "methods": partial(methods.methods, runs),
        "schedule": partial(methods.schedules, runs),
        "noise": partial(methods.robustness, effort, runs),
    }
    return started[name] if name in started else partial(ALONE[name], effort)


def _by_key(
    known: Mapping[tuple[str, int], Mapping[str, float | None]], seeds: Sequence[int]
) -> dict[str, list[float]]:
    """Values by `experiment/key`, one a seed; what draws nothing has one."""
    keys = dict.fromkeys((name, key) for (name, _), values in known.items() for key in values)
    return {
        f"{name}/{key}": [
            or_nan(known[name, seed].get(key)) if (name, seed) in known else math.nan
            for seed in (seeds[:1] if name in SAME_FOR_ALL else seeds)
        ]
        for name, key in keys
    }
