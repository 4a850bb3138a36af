"""`nestevo-hw schedule`: what the scheduling policies make of a list of tasks."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nestevo_hw.commands.options import machine_readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestevo_hw.scheduler.comparison import PolicyFigures
    from nestevo_hw.scheduler.simulator import Plan

_BAR_COLUMNS = 40


@click.command()
@click.argument("tasks", type=click.Path(path_type=Path), metavar="TASKS.json")
@click.option("--policy", type=click.Choice(["knapsack", "random", "serial"]), default="knapsack", show_default=True,
              help="Whose plan to show; the figures are given for all.")  # fmt: skip
@click.option("--memory-gb", default=4.0, show_default=True, help="That running tasks may use together, 1e9 bytes.")
@click.option("--workers", default=4, show_default=True, help="Tasks that may run at the same time.")
@click.option("--seed", default=0, show_default=True, help="Of the random policy.")
@click.option("--plot", type=click.Path(path_type=Path), metavar="FILE.png", help="Write the plan as a picture.")
@machine_readable
def schedule(
    tasks: Path, policy: str, memory_gb: float, workers: int, seed: int, plot: Path | None, as_json: bool
) -> dict[str, Any]:
    """Plan TASKS.json under each policy and compare mean waiting time, turnaround and makespan.

    All tasks arrive at once; times are modelled from the predicted durations. knapsack is the paper's Algorithm 3,
    random its baseline B1 (mean over 100 draws), serial its baseline B2.

    \b
    Example:
      echo '[{"name": "campus",   "memory_gb": 1.5, "duration_s": 30},
             {"name": "village",  "memory_gb": 3.0, "duration_s": 12, "cores": 1},
             {"name": "downtown", "memory_gb": 0.9, "duration_s": 50}]' > tasks.json
      nestevo-hw schedule tasks.json --memory-gb 4 --workers 2 --plot plan.png
    """
    from dataclasses import asdict

    from nestevo_hw.scheduler.comparison import compare_policies
    from nestevo_hw.scheduler.policies import Machine, policy_named
    from nestevo_hw.scheduler.simulator import simulate
    from nestevo_hw.scheduler.tasklist import read_tasks

    listed, machine = read_tasks(tasks), Machine(memory_bytes=round(memory_gb * 1e9), cores=workers)
    figures = compare_policies(listed, machine, seed=seed)
    plan = simulate(listed, policy_named(policy, seed=seed), machine)
    if plot is not None:
        from nestevo_hw.report.style import save_png
        from nestevo_hw.scheduler.plots import draw_plan

        save_png(draw_plan(plan, f"{policy}, {workers} workers, {memory_gb:g} GB"), plot)
    if not as_json:
        _show(figures, plan, policy, plot)
    planned = [
        {"name": p.task.name, "worker": p.worker, "started_s": p.started_s, "ended_s": p.ended_s} for p in plan.tasks
    ]
    return {"policies": [asdict(f) for f in figures], "policy": policy, "plan": planned}


def _show(figures: "Sequence[PolicyFigures]", plan: "Plan", policy: str, plot: Path | None) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Policies (modelled, seconds)", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("policy")
    for heading in ("mean wait", "mean turnaround", "makespan"):
        table.add_column(heading, justify="right")
    for f in figures:
        values = (f"{v:.1f}" for v in (f.mean_wait_s, f.mean_turnaround_s, f.makespan_s))
        table.add_row(f.name, *values, style="bold" if f.name == policy else None)
    chart = Table(title=f"Plan of {policy}", title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    chart.add_column("task")
    chart.add_column("GB", justify="right", no_wrap=True)
    chart.add_column("slot", justify="right", no_wrap=True)
    chart.add_column(f"0 to {plan.makespan_s:.1f} s", no_wrap=True)
    for p in plan.tasks:
        start, end = (round(t / plan.makespan_s * _BAR_COLUMNS) for t in (p.started_s, p.ended_s))
        bar = " " * start + "━" * max(end - start, 1)
        chart.add_row(escape(p.task.name), f"{p.task.memory_bytes / 1e9:.2f}", str(p.worker), bar)
    console = Console()
    console.print(table)
    console.print(chart)
    if plot is not None:
        console.print(f"picture: {plot}", highlight=False)
