"""How good the scheduling policies are: against the optimum, against each other, and how long they think.

    python benchmarks/scheduler_quality.py [--quick] [--json] [--tasks 150] [--seeds 3]

All schedules are simulated (`nestevo_hw/scheduler/simulator.py`); only the planning time is measured. Durations are
log-normal with a median of 60 s, memory is uniform, and both come from Python's generator seeded with the load's name,
so the workloads are the same everywhere.

1. Small cases, 4 to 7 tasks: mean waiting time over that of the best schedule there is, found by branch and bound over
   all orders and devices by code that shares nothing with the policies.
2. Large cases: mean waiting time of every policy over a grid of spreads, memory needs and correlations, then with
   several GPUs, arrivals, wrong predictions, contention and few workers.
3. Life-cycle performance: accuracy won on average over a window when tasks promise different gains.
4. Planning: the choice among 1000 waiting tasks on 80 GB, best of seven.
"""

import argparse
import math
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from nestevo_hw.base.documents import json_text
from nestevo_hw.scheduler.devices import Device, DeviceState
from nestevo_hw.scheduler.machine import Machine
from nestevo_hw.scheduler.policies import POLICIES, policy_named
from nestevo_hw.scheduler.simulator import AS_PREDICTED, Plan, Reality, simulate
from nestevo_hw.scheduler.task import Task

GB = 10**9
BEST, PAPER, B1, B2 = "lookahead", "knapsack", "random", "serial"
RANDOM_DRAWS = 5
MEDIAN_S = 60.0
ONE_GPU = (Device(memory_bytes=80 * GB, cores=64, name="80 GB"),)
THREE_GPUS = (
    *ONE_GPU,
    Device(memory_bytes=24 * GB, cores=64, name="24 GB"),
    Device(memory_bytes=12 * GB, cores=64, name="12 GB"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A workload and what it meets."""

    name: str
    spread: float = 1.0
    """Standard deviation of ln(duration)."""
    memory_gb: tuple[float, float] = (2.0, 24.0)
    correlation: float = 0.0
    """Power of memory in the duration: 1 for tasks that take longer the more memory they need."""
    devices: tuple[Device, ...] = ONE_GPU
    load: float = 0.0
    """Arrivals: memory-seconds asked for per memory-second there is; 0 if all arrive at once."""
    reality: Reality = AS_PREDICTED

    def tasks(self, count: int, seed: int) -> list[Task]:
        """Tasks in order of arrival."""
        draw = random.Random(f"{self.name}/{seed}")
        low, high = self.memory_gb
        tasks, area = [], 0.0
        for number in range(count):
            memory_gb = draw.uniform(low, high)
            factor = (memory_gb / ((low + high) / 2.0)) ** self.correlation
            duration_s = MEDIAN_S * factor * math.exp(self.spread * draw.gauss())
            gain = min(0.1 * draw.expovariate(1.0), 1.0)
            area += memory_gb * duration_s
            tasks.append(_task(f"t{number}", round(memory_gb * GB), duration_s, gain))
        if not self.load:
            return tasks
        interval_s = area / count / (self.load * sum(d.memory_bytes for d in self.devices) / GB)
        now_s = 0.0
        arriving = []
        for task in tasks:
            arriving.append(replace(task, arrives_s=now_s))
            now_s += draw.expovariate(1.0 / interval_s)
        return arriving


def _task(name: str, memory_bytes: int, duration_s: float, gain: float) -> Task:
    return Task(
        name=name,
        function="builtins:dict",
        payload={},
        memory_bytes=memory_bytes,
        duration_s=duration_s,
        expected_gain=gain,
    )


SPREADS = (0.5, 1.0, 1.5)
MEMORIES = {"small": (1.0, 12.0), "mixed": (2.0, 24.0), "large": (4.0, 60.0)}
GRID = tuple(
    Load(name=f"spread {s}, {m}, correlation {c:g}", spread=s, memory_gb=MEMORIES[m], correlation=c)
    for s in SPREADS
    for m in MEMORIES
    for c in (0.0, 1.0)
)
VARIATIONS = (
    Load(name="three GPUs of 80, 24 and 12 GB", devices=THREE_GPUS, memory_gb=(1.0, 40.0)),
    Load(name="arrivals at load 0.7", load=0.7),
    Load(name="arrivals at load 1.2", load=1.2),
    Load(name="durations off by 30 %", reality=Reality(duration_error=0.3)),
    Load(name="durations off by 80 %", reality=Reality(duration_error=0.8)),
    Load(name="durations and memory off by 30 %", reality=Reality(duration_error=0.3, memory_error=0.3)),
    Load(name="contention of 10 % a neighbour", reality=Reality(contention=0.1)),
    Load(name="eight workers", devices=(replace(ONE_GPU[0], cores=8),)),
)
TWO_SMALL_GPUS = (
    Device(memory_bytes=24 * GB, cores=8, name="24 GB"),
    Device(memory_bytes=12 * GB, cores=8, name="12 GB"),
)
SMALL = tuple(
    Load(name=f"spread {s}, {low:g} to {high:g} GB on {where}", spread=s, memory_gb=(low, high), devices=devices)
    for s in SPREADS
    for low, high in ((2.0, 12.0), (2.0, 22.0))
    for where, devices in (("24 GB", TWO_SMALL_GPUS[:1]), ("24 and 12 GB", TWO_SMALL_GPUS))
)


def least_total_wait_s(tasks: Sequence[Task], devices: Sequence[Device]) -> float:
    """Total waiting time of the best schedule of tasks that all arrive at once: branch and bound.

    Tasks are placed in the order of their starts, on every device in turn, each as early as it fits: for a sum of
    starting times one of these schedules is optimal.
    """
    best = math.inf

    def fits(task: Task, device: int, start_s: float, booked: Sequence[tuple[Task, int, float]]) -> bool:
        here = [(t, s) for t, d, s in booked if d == device]
        end_s = start_s + task.duration_s
        moments = [start_s, *(s for _, s in here if start_s < s < end_s)]
        for moment in moments:
            at_once = [task, *(t for t, s in here if s <= moment < s + t.duration_s)]
            if sum(t.memory_bytes for t in at_once) > devices[device].memory_bytes:
                return False
        return True

    def extend(left: Sequence[Task], booked: list[tuple[Task, int, float]], total_s: float) -> None:
        nonlocal best
        last_s = booked[-1][2] if booked else 0.0
        if total_s + last_s * len(left) >= best:
            return
        if not left:
            best = total_s
            return
        for task in left:
            for device, held in enumerate(devices):
                if task.memory_bytes <= held.memory_bytes:
                    moments = sorted({0.0, *(s + t.duration_s for t, d, s in booked if d == device)})
                    start_s = next(m for m in moments if fits(task, device, m, booked))
                    if start_s >= last_s:
                        rest = [t for t in left if t is not task]
                        extend(rest, [*booked, (task, device, start_s)], total_s + start_s)

    extend(sorted(tasks, key=lambda t: t.duration_s), [], 0.0)
    return best


def plans(load: Load, name: str, count: int, seed: int) -> list[Plan]:
    """Simulated schedules of one policy; several where it draws lots."""
    tasks, machine = load.tasks(count, seed), Machine(devices=load.devices)
    draws = range(RANDOM_DRAWS if name == B1 else 1)
    return [simulate(tasks, policy_named(name, seed=s), machine, replace(load.reality, seed=seed)) for s in draws]


def small_cases(seeds: int) -> dict[str, Any]:
    """Waiting of each policy over the optimum, over all small cases."""
    best, waits = [], {name: list[float]() for name in POLICIES}
    for load in SMALL:
        for seed in range(seeds):
            count = 4 + seed % 4
            best.append(least_total_wait_s(load.tasks(count, seed), load.devices) / count)
            for name in POLICIES:
                waits[name].append(statistics.fmean(p.mean_wait_s for p in plans(load, name, count, seed)))
    figures = {}
    for name, found in waits.items():
        excess = sorted(w / b - 1.0 if b else float(w > 0.0) for w, b in zip(found, best, strict=True))
        figures[name] = {
            "excess_of_mean": sum(found) / sum(best) - 1.0,
            "excess_p95": excess[int(0.95 * (len(excess) - 1))],
            "excess_worst": excess[-1],
            "optimal_share": sum(e < 1e-9 for e in excess) / len(excess),
        }
    return {"cases": len(best), "policies": figures}


def large_cases(loads: Sequence[Load], count: int, seeds: int) -> list[dict[str, Any]]:
    """Mean waiting time of each policy on each load, seconds; mean over seeds."""
    rows = []
    for load in loads:
        found = {name: [p for s in range(seeds) for p in plans(load, name, count, s)] for name in POLICIES}
        rows.append(
            {
                "load": load.name,
                "mean_wait_s": {n: statistics.fmean(p.mean_wait_s for p in f) for n, f in found.items()},
                "longest_wait_s": {n: statistics.fmean(p.longest_wait_s for p in f) for n, f in found.items()},
            }
        )
    return rows


def gains(count: int, seeds: int) -> dict[str, float]:
    """Accuracy won on average over a window of the length in which the paper's policy has run everything."""
    load = next(g for g in GRID if g.name == "spread 1.0, mixed, correlation 0")
    window_s = statistics.fmean(plans(load, PAPER, count, s)[0].makespan_s for s in range(seeds))
    return {
        name: statistics.fmean(p.mean_gain(window_s) for s in range(seeds) for p in plans(load, name, count, s))
        for name in POLICIES
    }


def planning_ms(repeats: int = 7) -> dict[str, float]:
    """Time of one choice among 1000 waiting tasks on an idle GPU of 80 GB, best of several, milliseconds."""
    tasks = Load(name="planning").tasks(1000, 0)
    states = [DeviceState(device=ONE_GPU[0])]
    found = {}
    for name in POLICIES:
        policy, times = policy_named(name), []
        for _ in range(repeats):
            started = time.perf_counter()
            policy.choose(tasks, states)
            times.append(time.perf_counter() - started)
        found[name] = 1e3 * min(times)
    return found


def below(row: dict[str, Any], other: str) -> float:
    """By what share the best policy waits less than another."""
    return 1.0 - row["mean_wait_s"][BEST] / row["mean_wait_s"][other]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def report(document: dict[str, Any]) -> str:
    """The document as Markdown."""
    small, rows = document["small"], document["large"]
    parts = [f"Small cases ({small['cases']}): mean waiting over the optimum\n"]
    head = ["policy", "of the mean", "95th percentile", "worst", "optimal in"]
    keys = ("excess_of_mean", "excess_p95", "excess_worst", "optimal_share")
    parts.append(_table(head, [[n, *(f"{100 * f[k]:.1f} %" for k in keys)] for n, f in small["policies"].items()]))
    parts.append("\nLarge cases: mean waiting, seconds, and how much less lookahead waits\n")
    head = ["load", *POLICIES, "below B1", "below B2", "below Algorithm 3"]
    lines = [
        [r["load"], *(f"{r['mean_wait_s'][n]:.0f}" for n in POLICIES)]
        + [f"{100 * below(r, other):.0f} %" for other in (B1, B2, PAPER)]
        for r in rows
    ]
    parts.append(_table(head, lines))
    for label, chosen in (("grid", rows[: len(GRID)]), ("all", rows)):
        means = ", ".join(
            f"{100 * statistics.fmean(below(r, o) for r in chosen):.1f} % below {o}" for o in (B1, B2, PAPER)
        )
        least = ", ".join(f"{100 * min(below(r, o) for r in chosen):.1f} %" for o in (B1, B2, PAPER))
        parts.append(f"\n{label}: mean over loads {means}; least {least}")
    parts.append("\nAccuracy won on average over a window: " + _list(document["gain"], "{:.4f}"))
    parts.append("\nPlanning 1000 tasks on 80 GB, ms: " + _list(document["planning_ms"], "{:.1f}"))
    return "\n".join(parts)


def _list(values: dict[str, float], form: str) -> str:
    return ", ".join(f"{name} {form.format(value)}" for name, value in values.items())


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a few cases only, to see that it runs")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--tasks", type=int, default=150, help="of a large case")
    parser.add_argument("--seeds", type=int, default=3, help="of a large case; small ones have ten times as many")
    options = parser.parse_args()
    count, seeds = (20, 1) if options.quick else (options.tasks, options.seeds)
    document = {
        "small": small_cases(4 if options.quick else 10 * seeds),
        "large": large_cases((*GRID, *VARIATIONS), count, seeds),
        "gain": gains(count, seeds),
        "planning_ms": planning_ms(),
    }
    print(json_text(document) if options.json else report(document))


if __name__ == "__main__":
    main()
