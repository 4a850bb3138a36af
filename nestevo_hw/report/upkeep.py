"""Upkeep of the teacher: when it was programmed, how it fared in between, and what that cost."""

import math
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nestevo_hw.base.stats import total
from nestevo_hw.pages.markup import MODELLED, SIMULATED, card, heading, note, table
from nestevo_hw.pages.style import THEMED, Palette, dress, inline_svg, new_figure
from nestevo_hw.report.events import Run
from nestevo_hw.report.plots import AFTER_X, BEFORE_X, PANEL_IN, draw_window_axis
from nestevo_hw.report.records import SETUP, Deploy, Program, Refresh
from nestevo_hw.report.wording import DASH, counted, duration, score, share, small

NEW_TEACHER = "new teacher"
"""Cause of a programming that the guard judges afterwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One measurement of the teacher on in-domain frames, in the order in which they were made."""

    x: float
    """In windows."""
    score: float
    programmed: bool
    """Measured right after programming, not before a window's labels."""
    in_force: bool = True
    """False for a new teacher that the guard rejected."""


def readings(run: Run) -> list[Reading]:
    """Every measurement of the teacher's upkeep."""
    accepted = {d.window: d.accepted for d in run.of(Deploy)}
    found = []
    for event in run.events:
        if isinstance(event, Refresh):
            found.append(Reading(x=event.window + BEFORE_X, score=event.score, programmed=False))
        elif isinstance(event, Program):
            new = event.cause == NEW_TEACHER
            x = 0.0 if event.window == SETUP else event.window + (AFTER_X if new else BEFORE_X)
            kept = accepted.get(event.window, True) if new else True
            found.append(Reading(x=x, score=event.score, programmed=True, in_force=kept))
    return [r for r in found if math.isfinite(r.score)]


def upkeep_panel(run: Run, palette: Palette) -> Figure:
    """In-domain accuracy of the teacher between its programmings, and below it its age at each window's labels."""
    figure = new_figure(*PANEL_IN, palette)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.2))
    _draw_readings(upper, readings(run), palette)
    dress(upper, palette)
    _draw_ages(lower, run, palette)
    dress(lower, palette)
    draw_window_axis(lower, max(run.windows, 1))
    return figure


def upkeep_card(run: Run) -> str:
    """The panel with its key; an empty string where nothing was measured."""
    if not readings(run):
        return ""
    svg = inline_svg(upkeep_panel(run, THEMED), "In-domain accuracy and age of the teacher over the windows")
    return card(
        svg,
        "On in-domain frames: violet before a window's labels, brown right after programming, hollow if rejected by "
        "the guard. Below: age of the cells when they label.",
    )


def upkeep(run: Run) -> str:
    """When the teacher was programmed and why; an empty string where it never was."""
    programmed, refreshes = run.of(Program), run.of(Refresh)
    if not programmed:
        return ""
    return (
        heading("Upkeep of the teacher", SIMULATED)
        + note(
            "Programmed cells drift, so the teacher gets worse with time; writing it again takes time and energy and "
            "wears the cells. Before each window it is measured on in-domain frames, and the refresh policy decides. "
            "Time, energy and wear of a programming:",
            MODELLED,
        )
        + card(_programmings(programmed), _bill(programmed))
        + (
            note("What the policy saw before each window, and what it chose:") + card(_decisions(refreshes))
            if refreshes
            else ""
        )
    )


def _programmings(programmed: tuple[Program, ...]) -> str:
    heads = ("window", "why", "device", "tiles", "weight error", "age when read", "in-domain", "time", "energy", "wear")
    return table(heads, [
        ("setup" if p.window == SETUP else str(p.window), p.cause or DASH, p.device, _tiles(p), share(p.weight_error),
         duration(p.age_s), score(p.score), duration(p.time_s), small(p.energy_j, "J"), small(p.wear, ""))
        for p in programmed
    ])  # fmt: skip


def _decisions(refreshes: tuple[Refresh, ...]) -> str:
    heads = ("window", "age", "in-domain now", "when programmed", "policy", "programmed again", "because")
    return table(heads, [
        (str(r.window), duration(r.age_s), score(r.score), score(r.fresh_score), r.policy,
         "yes" if r.refreshed else "no", r.reason)
        for r in refreshes
    ])  # fmt: skip


def _bill(programmed: tuple[Program, ...]) -> str:
    time_s, energy_j, wear = (total(getattr(p, name) for p in programmed) for name in ("time_s", "energy_j", "wear"))
    text = (
        f"{counted(len(programmed), 'programming')}. Weight error: root mean square of what a weight lands off its "
        "target, relative."
    )
    chip = next((p.chip for p in programmed if p.chip), "")
    if not chip:
        return text
    return (
        f"{text} All of them together take {duration(time_s)}, {small(energy_j, 'J')} and {small(wear, '')} of the "
        f"cells' endurance, modelled from figures of {chip}."
    )


def _tiles(program: Program) -> str:
    if program.tiles is None:
        return DASH
    rows, columns = program.tile if isinstance(program.tile, tuple) else (program.tile, program.tile)
    return f"{program.tiles} of {rows} x {columns}"


def _draw_readings(axes: Axes, found: list[Reading], palette: Palette) -> None:
    line = [r for r in found if r.in_force]
    axes.plot([r.x for r in line], [r.score for r in line], color=palette.teacher, lw=1.6, zorder=2)
    for programmed, in_force, face, edge in (
        (False, True, palette.teacher, palette.surface),
        (True, True, palette.program, palette.surface),
        (True, False, "none", palette.program),
    ):
        shown = [r for r in found if (r.programmed, r.in_force) == (programmed, in_force)]
        axes.scatter(
            [r.x for r in shown], [r.score for r in shown], s=44 if programmed else 30,
            facecolor=face, edgecolor=edge, linewidth=1.0, zorder=3,
        )  # fmt: skip
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
    axes.set_ylabel("mAP@0.50")


def _draw_ages(axes: Axes, run: Run, palette: Palette) -> None:
    """Age at each window's labels: of a teacher programmed for it, that at its first label."""
    fresh = {p.window: p.age_s for p in run.of(Program) if p.cause != NEW_TEACHER}
    ages = {r.window: fresh.get(r.window, math.nan) if r.refreshed else r.age_s for r in run.of(Refresh)}
    shown = {w: age / 3600.0 for w, age in ages.items() if math.isfinite(age) and age > 0}
    axes.bar([w + 0.5 for w in shown], list(shown.values()), width=0.34, color=palette.other)
    axes.yaxis.set_major_locator(MaxNLocator(2))
    axes.set_ylabel("age, h")
