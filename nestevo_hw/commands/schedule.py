"""`nestevo-hw schedule`: what the scheduling policies make of a list of tasks."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.base.ranges import NOT_NEGATIVE, Range
from nestevo_hw.commands.options import SEED_NUMBER, WORKERS, Number, listed, machine_readable
from nestevo_hw.scheduler.policies import POLICIES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestevo_hw.pages.tables import Table
    from nestevo_hw.scheduler.comparison import PolicyFigures
    from nestevo_hw.scheduler.machine import Machine
    from nestevo_hw.scheduler.simulator import Schedule

ERROR = Number(Range(0, 10))
_BAR_COLUMNS = 32


@click.command(epilog=listed("Policies", POLICIES), short_help="Plan tasks under several policies.")
@click.argument("tasks", type=click.Path(path_type=Path), metavar="TASKS.json")
@click.option("--policy", type=click.Choice(list(POLICIES)), default="lookahead", show_default=True,
              help="Whose plan to show; the figures are given for all.")  # fmt: skip
@click.option("--memory-gb", type=Number(Range(0.001, 1e6)), multiple=True, default=(4.0,), show_default=True,
              help="That running tasks may use together, 1e9 bytes; once for each GPU or machine.")  # fmt: skip
@click.option(
    "--workers", type=WORKERS, default=4, show_default=True, help="Tasks that may run at the same time on each of them."
)
@click.option("--duration-error", type=ERROR, default=0.0, show_default=True,
              help="Standard deviation of ln(true / predicted duration).")  # fmt: skip
@click.option("--memory-error", type=ERROR, default=0.0, show_default=True,
              help="The same for memory; a task that reserved too little fails and runs again.")  # fmt: skip
@click.option("--contention", type=Number(Range(0, 100)), default=0.0, show_default=True,
              help="How much longer a task takes for each other one beside it: 0.1 is 10 %.")  # fmt: skip
@click.option("--patience-s", type=Number(NOT_NEGATIVE), default=1800.0, show_default=True,
              help="Tasks that arrive this much later than another never overtake it.")  # fmt: skip
@click.option(
    "--window-s",
    type=Number(Range(0, 1e12, above=True)),
    help="Over which gains are averaged; by default twice the time of all tasks.",
)
@click.option(
    "--seed", type=SEED_NUMBER, default=0, show_default=True, help="Of policies that draw lots and of the errors."
)
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.png", help="Write the plan as a picture.")
@machine_readable
def schedule(
    tasks: Path, policy: str, memory_gb: tuple[float, ...], workers: int, duration_error: float, memory_error: float,
    contention: float, patience_s: float, window_s: float | None, seed: int, plot: Path | None, as_json: bool,
) -> dict[str, Any]:  # fmt: skip
    """Plan TASKS.json under each policy and compare waiting, turnaround, makespan and accuracy won.

    Times are modelled from the predicted durations; of a policy that draws lots they are means over 100 draws, or
    fewer of more than 100 tasks. A task
    may also give "cores", "priority" (higher first), "expected_gain" (accuracy, 0 to 1) and "arrives_s".

    \b
    Example:
      echo '[{"name": "campus", "memory_gb": 3, "duration_s": 30, "expected_gain": 0.2},
             {"name": "village", "memory_gb": 2.5, "duration_s": 90, "expected_gain": 0.2},
             {"name": "downtown", "memory_gb": 1, "duration_s": 15, "expected_gain": 0.2},
             {"name": "harbour", "memory_gb": 0.5, "duration_s": 30, "expected_gain": 0.1},
             {"name": "station", "memory_gb": 1, "duration_s": 20, "expected_gain": 0.05},
             {"name": "market", "memory_gb": 3, "duration_s": 10, "expected_gain": 0.2}]' > tasks.json
      nestevo-hw schedule tasks.json --memory-gb 4 --workers 3 --plot plan.png
      nestevo-hw schedule tasks.json --memory-gb 80 --memory-gb 24 --duration-error 0.3
    """
    from dataclasses import asdict

    from nestevo_hw.commands.progress import progress_bar
    from nestevo_hw.scheduler.comparison import comparison_steps, figures_of, simulate_policies, usual_window_s
    from nestevo_hw.scheduler.devices import Device
    from nestevo_hw.scheduler.machine import Machine
    from nestevo_hw.scheduler.simulator import Reality
    from nestevo_hw.scheduler.tasklist import read_tasks

    listed = read_tasks(tasks)
    devices = tuple(
        Device(memory_bytes=round(gb * 1e9), cores=workers, name=f"device {number} ({gb:g} GB)")
        for number, gb in enumerate(memory_gb)
    )
    machine = Machine(devices=devices, patience_s=patience_s)
    reality = Reality(duration_error=duration_error, memory_error=memory_error, contention=contention, seed=seed)
    with progress_bar(comparison_steps(listed), "policies") as advance:
        schedules = simulate_policies(listed, machine, seed=seed, reality=reality, advance=advance)
    figures = [figures_of(name, found, window_s or usual_window_s(listed)) for name, found in schedules.items()]
    simulated = schedules[policy][0]
    if plot is not None:
        from nestevo_hw.pages.style import save_png
        from nestevo_hw.scheduler.plots import draw_schedule

        memory = " + ".join(f"{gb:g}" for gb in memory_gb)
        save_png(draw_schedule(simulated, machine, f"{policy}, {memory} GB, {workers} workers each"), plot)
    if not as_json:
        _show(figures, simulated, machine, policy, plot)
    return {"policies": [asdict(f) for f in figures], "policy": policy, "plan": _document(simulated)}


def _document(simulated: "Schedule") -> list[dict[str, Any]]:
    return [
        {
            "name": p.task.name,
            "device": p.device,
            "worker": p.worker,
            "arrives_s": p.task.arrives_s,
            "started_s": p.started_s,
            "ended_s": p.ended_s,
            "wait_s": p.wait_s,
            "attempts": p.attempts,
        }
        for p in simulated.tasks
    ]


def _show(
    figures: "Sequence[PolicyFigures]", simulated: "Schedule", machine: "Machine", policy: str, plot: Path | None
) -> None:
    from nestevo_hw.pages.tables import show

    picture = [] if plot is None else [f"picture: {plot}"]
    show(_comparison(figures, policy), _chart(simulated, machine, policy), *picture)


def _comparison(figures: "Sequence[PolicyFigures]", policy: str) -> "Table":
    from nestevo_hw.pages.tables import Table

    rows = [
        (f.name, *(f"{v:.1f}" for v in (f.mean_wait_s, f.longest_wait_s, f.mean_turnaround_s, f.makespan_s)),
         "" if f.mean_gain is None else f"{f.mean_gain:.4f}")
        for f in figures
    ]  # fmt: skip
    return Table(
        title="Policies (modelled, seconds)",
        heads=("policy", "mean wait", "longest", "turnaround", "makespan", "accuracy won"),
        rows=rows,
        marked=frozenset(i for i, f in enumerate(figures) if f.name == policy),
    ).filled()


def _chart(simulated: "Schedule", machine: "Machine", policy: str) -> "Table":
    """A text Gantt chart: dots while a task waits, a line while it runs."""
    from nestevo_hw.pages.tables import Table

    several, rows = len(machine.devices) > 1, []
    for p in simulated.tasks:
        arrival, start, end = (
            round(t / simulated.makespan_s * _BAR_COLUMNS) for t in (p.task.arrives_s, p.started_s, p.ended_s)
        )
        bar = " " * arrival + "·" * (start - arrival) + "━" * max(end - start, 1)
        slot = p.worker - sum(d.cores for d in machine.devices[: p.device])
        gb = f"{p.task.memory_bytes / 1e9:.2f}"
        rows.append((p.task.name, gb, str(p.device) if several else "", str(slot), f"{p.wait_s:.1f}", bar))
    heads = ("task", "GB", "device", "slot", "wait", f"0 to {simulated.makespan_s:.1f} s")
    return Table(title=f"Plan of {policy}", heads=heads, rows=rows).filled()
