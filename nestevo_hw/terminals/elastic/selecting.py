"""A search on a terminal, from its parts to its pool; killed, it goes on with the accuracies that it has."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from nestevo_hw import __version__
from nestevo_hw.base.documents import plain, read_json, write_json
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.interruption import resumable
from nestevo_hw.base.jsonlines import Journal
from nestevo_hw.base.ranges import POSITIVE, Range
from nestevo_hw.models.elastic.parts import MANIFEST
from nestevo_hw.models.elastic.space import BranchPath
from nestevo_hw.models.onnx.manifest import sha256
from nestevo_hw.terminals.elastic.edge import Accuracies, EdgeFrames, Timing, time_blocks
from nestevo_hw.terminals.elastic.latency import measure as measure_times
from nestevo_hw.terminals.elastic.network import Network
from nestevo_hw.terminals.elastic.pool import Candidate, Pool
from nestevo_hw.terminals.elastic.search.evaluation import Evaluated, Evaluations
from nestevo_hw.terminals.elastic.search.problem import Problem
from nestevo_hw.terminals.elastic.search.run import EVALUATIONS, Limits, search
from nestevo_hw.terminals.elastic.search.strategies import STRATEGIES

TIMING, POOL, RESULT, JOURNAL = "timing.json", "pool.json", "result.json", "evaluations.jsonl"
SHARE_OF_BASE = Range(0.01, 1)
USUAL_BUDGET = 0.6
"""Of the time of the base."""
_ANEW = "search again"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """What is searched for, and how."""

    budget: Annotated[float, SHARE_OF_BASE] = USUAL_BUDGET
    """Of the time of the base, unless `budget_ms` is given."""
    budget_ms: Annotated[float, POSITIVE] | None = None
    """A frame, milliseconds."""
    strategy: str = "refined"
    frames: Annotated[int, Range(1, 10_000)] = 64
    """To measure accuracies on."""
    evaluations: Annotated[int, EVALUATIONS] = 120
    seconds: Annotated[float, POSITIVE] | None = None
    seed: int = 0
    cpu_time: bool = False
    """Time in seconds of this process on the CPU: where other work on the machine would spoil those of the clock."""

    @property
    def clock(self) -> Callable[[], float]:
        """Of the latency table and of whole models."""
        return time.thread_time if self.cpu_time else time.perf_counter

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ConfigError(f"no search {self.strategy!r}; choose from {', '.join(STRATEGIES)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """What a search came to."""

    budget_s: float
    base: Candidate
    best: Candidate
    """The most accurate path that fits."""
    measured_s: float
    """Median time of a frame on that path, measured after the search."""
    evaluated: int
    seconds: float
    """Of the search, without that of measuring the latency table."""
    timing: Timing
    cpu_time: bool = False
    """Whether all times are those of the process on the CPU, not of the clock."""


def select(
    parts: Path, frames: Path, out: Path, config: SearchConfig, *, resume: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Selected:  # fmt: skip
    """Search for the best path under a budget, and keep all that was evaluated as a pool.

    Args:
        parts: folder of the supernet's parts.
        frames: file of labelled frames.
        out: folder that nobody else uses, for the latency table, the accuracies, the pool and the result.
        config: see there.
        resume: go on with the search in `out`.
        tell: told what has been done.

    Raises:
        ConfigError: no path fits the budget; or the folder holds a search of another configuration, or none.
        InputError: parts or frames are damaged.
        StoppedError: stopped by Ctrl-C or a signal; what was measured is kept.
    """
    network = Network(parts)
    edge, _ = EdgeFrames.read_for(network.parts, frames).parted(config.frames)
    identity = {"config": config, "parts": sha256(parts / MANIFEST), "frames": sha256(frames), "version": __version__}
    if resume and not (out / JOURNAL).is_file():
        raise ConfigError(f"{out} holds no search to resume; leave --resume out")
    journal = Journal(out / JOURNAL, Evaluated, identity, holds="a search", resume=resume)
    measure = Accuracies(network, edge)
    evaluations = Evaluations(_told(measure, tell), journal)
    with resumable(out, lambda: f"{len(evaluations.known)} evaluations"):
        timing = _timing(network, out / TIMING, config, resume=resume)
        tell("latency table measured")
        space = network.parts.space
        whole = timing.model.time(space.base)
        budget_s = config.budget * whole if config.budget_ms is None else config.budget_ms / 1e3
        problem = Problem(space, timing.model, budget_s)
        (base,) = evaluations.of([space.base])
        limits = Limits(evaluations=config.evaluations, seconds=config.seconds)
        outcome = search(STRATEGIES[config.strategy], problem, evaluations, limits, config.seed)
        if outcome.best is None:
            (fastest,) = evaluations.of([problem.fastest])
        best = outcome.best or fastest
        pool = Pool.of(evaluations.known.values(), timing.model)
        network.sessions.change_to(best.path)
        measured_s = median_time(lambda: network.look(best.path, edge.floats(0)), config.clock)
    selected = Selected(
        budget_s=budget_s, base=Candidate(space.base, whole, base.accuracy),
        best=Candidate(best.path, timing.model.time(best.path), best.accuracy), measured_s=measured_s,
        evaluated=len(evaluations.known), seconds=outcome.seconds, timing=timing, cpu_time=config.cpu_time,
    )  # fmt: skip
    write_json(out / POOL, plain(pool))
    write_json(out / RESULT, plain(selected))
    return selected


def read_selected(out: Path) -> tuple[Selected, Pool]:
    """What a search left in its folder.

    Raises:
        InputError: a file is missing or damaged.
    """
    return read_json(out / RESULT, Selected, advice=_ANEW), read_json(out / POOL, Pool, advice=_ANEW)


def median_time(run: Callable[[], object], clock: Callable[[], float], *, rounds: int = 50) -> float:
    """Seconds of a run, the median of some."""
    return measure_times({"": run}, rounds=rounds, clock=clock)[""]


def _timing(network: Network, file: Path, config: SearchConfig, *, resume: bool) -> Timing:
    if resume and file.is_file():
        found = read_json(file, Timing, advice="delete it and resume again")
        found.model.require(network.parts.space, str(file))
        return found
    found = time_blocks(network, config.seed, clock=config.clock)
    write_json(file, plain(found))
    return found


def _told(measure: Accuracies, tell: Callable[[str], None]) -> Callable[..., list[float]]:
    def measured(paths: list[BranchPath]) -> list[float]:
        found = measure(paths)
        tell(f"{len(paths)} paths measured")
        return found

    return measured
