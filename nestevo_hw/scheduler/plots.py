"""A plan as a Gantt chart."""

from matplotlib.figure import Figure

from nestevo_hw.report.style import LIGHT, SMALL, dress, new_figure
from nestevo_hw.scheduler.simulator import Plan


def draw_plan(plan: Plan, title: str) -> Figure:
    """One row a worker slot, one bar a task; the number in a bar is its predicted memory."""
    slots = max(p.worker for p in plan.tasks) + 1
    figure = new_figure(9.6, 1.2 + 0.5 * slots, LIGHT)
    axes = figure.subplots()
    for planned in plan.tasks:
        middle_s = (planned.started_s + planned.ended_s) / 2
        axes.barh(
            planned.worker,
            planned.ended_s - planned.started_s,
            left=planned.started_s,
            height=0.76,
            color=LIGHT.mutual,
            edgecolor=LIGHT.surface,
        )
        label = f"{planned.task.name}\n{planned.task.memory_bytes / 1e9:.2g} GB"
        axes.text(
            middle_s, planned.worker, label, ha="center", va="center", color=LIGHT.surface, size=SMALL - 1, clip_on=True
        )
    axes.set_yticks(range(slots), [f"slot {slot}" for slot in range(slots)])
    axes.set_ylim(slots - 0.4, -0.6)
    axes.set_xlim(0.0, plan.makespan_s * 1.01)
    axes.set_xlabel("modelled seconds since all tasks arrived")
    axes.set_title(title, loc="left")
    dress(axes, LIGHT, grid="x")
    return figure
