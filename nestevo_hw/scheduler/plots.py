"""A schedule as a Gantt chart."""

from matplotlib.figure import Figure

from nestevo_hw.pages.style import LIGHT, SMALL, dress, new_figure
from nestevo_hw.scheduler.machine import Machine
from nestevo_hw.scheduler.simulator import Schedule

_WIDTH_INCHES = 9.6
_LEAST_LABELLED_SHARE = 0.05
"""Bars narrower than this share of the schedule carry no text; it would run into their neighbours'."""


def draw_schedule(schedule: Schedule, machine: Machine, title: str) -> Figure:
    """One row a worker slot in use, one bar a task.

    The number in a bar is its predicted memory.
    """
    slots = sorted({p.worker for p in schedule.tasks})
    figure = new_figure(_WIDTH_INCHES, 1.2 + 0.5 * len(slots), LIGHT)
    axes = figure.subplots()
    for scheduled in schedule.tasks:
        row, length_s = slots.index(scheduled.worker), scheduled.ended_s - scheduled.started_s
        axes.barh(row, length_s, left=scheduled.started_s, height=0.76, color=LIGHT.mutual, edgecolor=LIGHT.surface)
        if length_s < _LEAST_LABELLED_SHARE * schedule.makespan_s:
            continue
        axes.text(
            (scheduled.started_s + scheduled.ended_s) / 2,
            row,
            f"{scheduled.task.name}\n{scheduled.task.memory_bytes / 1e9:.2g} GB",
            ha="center",
            va="center",
            color=LIGHT.surface,
            size=SMALL - 1,
            clip_on=True,
        )
    axes.set_yticks(range(len(slots)), [slot_name(machine, slot) for slot in slots])
    axes.set_ylim(len(slots) - 0.4, -0.6)
    axes.set_xlim(0.0, schedule.makespan_s * 1.01)
    axes.set_xlabel("modelled seconds since the schedule began")
    axes.set_title(title, loc="left")
    dress(axes, LIGHT, grid="x")
    return figure


def slot_name(machine: Machine, slot: int) -> str:
    """What a slot is called: by its number, and by its device where there are several."""
    if len(machine.devices) == 1:
        return f"slot {slot}"
    for device in machine.devices:
        if slot < device.cores:
            return f"{device.name}, slot {slot}"
        slot -= device.cores
    raise ValueError(f"there is no slot {slot}")
