"""Pictures of a noise benchmark; each takes its palette, so that the page can follow the reader's theme."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from nestevo_hw.pages.style import FONT, SMALL, Palette, dress, new_figure
from nestevo_hw.studies.noise.plan import AWARE, PLAIN
from nestevo_hw.studies.noise.points import SweepPoint
from nestevo_hw.studies.noise.results import Benchmark
from nestevo_hw.studies.noise.students import BEFORE, DIGITAL_TEACHER, TRUE_LABELS
from nestevo_hw.studies.noise.sweeps import SWEEPS, Value

PANEL_IN = (4.1, 2.9)
"""Width and height of a panel, inches."""
_COLUMNS = 4
_METRICS = {
    "map50": "mAP@0.50",
    "map75": "mAP@0.75",
    "map": "mAP@0.50:0.95",
    "map50_vs_digital": "mAP@0.50 against the digital model",
    "map75_vs_digital": "mAP@0.75 against the digital model",
    "map_vs_digital": "mAP@0.50:0.95 against the digital model",
    "top1_agreement": "share of equal first classes",
    "r2_vs_digital": "R^2 against the digital outputs",
}
Draw = Callable[[Axes], None]


def metric_text(metric: str) -> str:
    """A metric as people know it."""
    return _METRICS.get(metric, metric)


def draw_sweeps(found: Benchmark, palette: Palette) -> Figure:
    """One panel a sweep, one line a scene."""
    panels = [_panel_of(found, sweep, palette) for sweep in found.sweeps]
    figure = grid(panels, palette)
    figure.axes[0].set_ylabel(metric_text(found.metric))
    handles = [line(_scene_colour(palette, found, scene), scene) for scene in found.scenes if scene != "all"]
    handles += [Line2D([], [], color=palette.muted, ls=(0, (4, 2)), lw=1.2, label="digital, no noise")]
    if found.as_programmed:
        handles += [Line2D([], [], color=palette.muted, ls=(0, (1, 2)), lw=1.2, label="the device as it is")]
    head(figure, handles, palette, f"{found.about['model']}, {found.about['device']} (simulated)")
    return figure


def draw_sweep(found: Benchmark, sweep: str, palette: Palette) -> Figure:
    """One sweep alone."""
    figure = new_figure(*PANEL_IN, palette)
    axes = figure.subplots()
    _panel_of(found, sweep, palette)(axes)
    axes.set_ylabel(metric_text(found.metric))
    return figure


def draw_pair(found: Benchmark, palette: Palette) -> Figure:
    """Plain and noise-aware model: one panel a sweep and scene."""
    panels = [_pair_panel_of(found, sweep, scene, palette) for scene in found.scenes for sweep in found.paired]
    figure = grid(panels, palette, columns=len(found.paired))
    figure.axes[0].set_ylabel(metric_text(found.metric))
    handles = [line(palette.before, PLAIN), line(palette.after, AWARE)]
    handles += [Line2D([], [], color=palette.muted, ls=(0, (4, 2)), lw=1.2, label="digital, no noise")]
    head(figure, handles, palette, f"{found.about['model']}: training with and without weight noise (eq. 18-20)")
    return figure


def draw_pair_panel(found: Benchmark, sweep: str, scene: str, palette: Palette) -> Figure:
    """One panel of `draw_pair`."""
    figure = new_figure(*PANEL_IN, palette)
    axes = figure.subplots()
    _pair_panel_of(found, sweep, scene, palette)(axes)
    axes.set_ylabel(metric_text(found.metric))
    return figure


def draw_students(found: Benchmark, palette: Palette) -> Figure:
    """Teacher and student against the teacher's noise, and against one another."""
    panels = [_lesson_panel_of(found, sweep, palette) for sweep in found.taught_sweeps]
    panels.append(lambda axes: _against_teacher(axes, found, palette))
    figure = grid(panels, palette, columns=len(panels))
    figure.axes[0].set_ylabel(metric_text(found.metric))
    handles = [line(palette.teacher, "teacher"), line(palette.after, "student it teaches")]
    head(figure, handles, palette, f"{found.about['student']} taught by {found.about['model']} with noise")
    return figure


def draw_lesson(found: Benchmark, sweep: str | None, palette: Palette) -> Figure:
    """One panel of `draw_students`; None for the student against its teacher."""
    figure = new_figure(*PANEL_IN, palette)
    axes = figure.subplots()
    if sweep is None:
        _against_teacher(axes, found, palette)
    else:
        _lesson_panel_of(found, sweep, palette)(axes)
        axes.set_ylabel(metric_text(found.metric))
    return figure


def _panel_of(found: Benchmark, sweep: str, palette: Palette) -> Draw:
    values = [p.value for p in found.of(sweep, found.scenes[0])]

    def draw(axes: Axes) -> None:
        for scene in found.scenes:
            colour = _scene_colour(palette, found, scene)
            axes.axhline(found.digital_score(scene), color=colour, ls=(0, (4, 2)), lw=1.1, alpha=0.8, zorder=2)
            programmed = found.programmed(scene)
            if programmed is not None and sweep not in ("mu", "time_s"):
                axes.axhline(programmed.mean, color=colour, ls=(0, (1, 2)), lw=1.1, alpha=0.8, zorder=2)
            draw_line(axes, sweep, found.of(sweep, scene), colour, values)
        finish(axes, sweep, values, palette, top=ceiling(found))

    return draw


def _pair_panel_of(found: Benchmark, sweep: str, scene: str, palette: Palette) -> Draw:
    values = [p.value for p in found.of(sweep, scene, AWARE)]

    def draw(axes: Axes) -> None:
        for training, colour in ((PLAIN, palette.before), (AWARE, palette.after)):
            axes.axhline(found.digital_score(scene, training), color=colour, ls=(0, (4, 2)), lw=1.1, alpha=0.8)
            draw_line(axes, sweep, found.of(sweep, scene, training), colour, values)
        finish(axes, sweep, values, palette, top=ceiling(found))
        if scene != "all":
            axes.set_title(scene, loc="left", size=SMALL + 1, color=palette.ink)

    return draw


def _lesson_panel_of(found: Benchmark, sweep: str, palette: Palette) -> Draw:
    def draw(axes: Axes) -> None:
        students, teachers = found.of(sweep, "student"), found.of(sweep, "teacher")
        values = [p.value for p in students]
        draw_line(axes, sweep, teachers, palette.teacher, values)
        draw_line(axes, sweep, students, palette.after, values)
        finish(axes, sweep, values, palette, top=ceiling(found))
        _mark_students(axes, found, palette)

    return draw


def _against_teacher(axes: Axes, found: Benchmark, palette: Palette) -> None:
    """Every lesson as a dot: how good the teacher was, how good its student became."""
    marks = {"student_mu": "o", "student_time_s": "D"}
    names = {"student_mu": "weight noise", "student_time_s": "device"}
    for sweep in found.taught_sweeps:
        x = [s for p in found.of(sweep, "teacher") for s in p.headline]
        y = [s for p in found.of(sweep, "student") for s in p.headline]
        axes.scatter(x, y, s=26, marker=marks[sweep], facecolor=palette.after, edgecolor=palette.surface, lw=0.6,
                     alpha=0.85, label=names[sweep], zorder=3)  # fmt: skip
    dress(axes, palette, grid="both")
    low, high = axes.get_xlim()
    axes.plot((0, 1), (0, 1), color=palette.grid, lw=1.2, zorder=1)
    middle = (low + high) / 2
    axes.text(middle, middle, "as good as its teacher", ha="center", va="top", size=SMALL - 1, color=palette.muted,
              rotation=45, rotation_mode="anchor", transform_rotates_text=True, family=FONT)  # fmt: skip
    axes.set_xlim(low, high)
    axes.set_ylim(0.0, ceiling(found))
    axes.set_xlabel("teacher")
    axes.set_ylabel("student")
    _mark_students(axes, found, palette, left=True)
    if len(found.taught_sweeps) > 1:
        axes.legend(frameon=False, fontsize=SMALL - 1, labelcolor=palette.muted, loc="lower right")


def _mark_students(axes: Axes, found: Benchmark, palette: Palette, *, left: bool = False) -> None:
    """Students to compare with, as named horizontal lines."""
    marks = ((TRUE_LABELS, palette.distil), (DIGITAL_TEACHER, palette.mutual), (BEFORE, palette.before))
    for name, colour in marks:
        student = found.student(name)
        if student is not None:
            axes.axhline(student.mean, color=colour, ls=(0, (4, 2)), lw=1.1, zorder=2)
            axes.text(0.01 if left else 0.99, student.mean, name, transform=axes.get_yaxis_transform(),
                      ha="left" if left else "right", va="bottom", size=SMALL - 1, color=colour)  # fmt: skip


def draw_line(axes: Axes, sweep: str, points: Sequence[SweepPoint], colour: str, values: Sequence[Value]) -> None:
    """Means with their intervals: a line with a band, or bars where the values have no order.

    Args:
        axes: to draw on.
        sweep: its name.
        points: of one line.
        colour: of the line.
        values: all values on the axis.
    """
    at = _places(sweep, values)
    x = [at[p.value] for p in points]
    low, high = zip(*(p.ci95 for p in points), strict=True)
    means = [p.mean for p in points]
    if SWEEPS[sweep].worse is None or len(points) == 1:
        error = [[m - b for m, b in zip(means, low, strict=True)], [t - m for m, t in zip(means, high, strict=True)]]
        axes.errorbar(x, means, error, color=colour, fmt="o", ms=4.5, lw=1.4, capsize=2.5, zorder=3)
        return
    axes.fill_between(x, low, high, color=colour, alpha=0.16, lw=0, zorder=2)
    axes.plot(x, means, color=colour, marker="o", ms=4, lw=1.8, zorder=3)


def finish(axes: Axes, sweep: str, values: Sequence[Value], palette: Palette, *, top: float) -> None:
    """Axes of a sweep's panel: its values below, scores from 0 to `top`."""
    entry = SWEEPS[sweep]
    at = _places(sweep, values)
    labels = _legible([entry.text(value) for value in values], [at[value] for value in values])
    slanted = sum(map(len, labels)) > 30
    ha: Literal["right", "center"] = "right" if slanted else "center"
    axes.set_xticks(list(at.values()), labels, rotation=25 if slanted else 0, ha=ha)
    bare = entry.unit == "preset" or sweep.endswith("time_s")
    axes.set_xlabel(entry.title if bare else f"{entry.title}\n{entry.unit}")
    dress(axes, palette)
    axes.set_ylim(0.0, top)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
    axes.margins(x=0.11)


def _legible(labels: Sequence[str], places: Sequence[float]) -> list[str]:
    """The labels, without those that would touch the one before them."""
    shown: list[str] = []
    last, room = -math.inf, 0.12 * (places[-1] - places[0])
    for label, place in zip(labels, places, strict=True):
        fits = place - last >= room
        shown.append(label if fits else "")
        last = place if fits else last
    return shown


def _places(sweep: str, values: Sequence[Value]) -> dict[Value, float]:
    """Places on the axis: bits and mu to scale, all others in equal steps, since they span decades or are names."""
    to_scale = sweep in ("mu", "student_mu", "adc_bits", "dac_bits")
    return {value: float(value) if to_scale else float(i) for i, value in enumerate(values)}


def ceiling(found: Benchmark) -> float:
    """Upper end of the score axis, the same in all panels."""
    every = (*found.points, *found.digital, *found.students)
    return min(1.02, math.ceil(10 * max(max(p.headline) for p in every) + 0.5) / 10)


def _scene_colour(palette: Palette, found: Benchmark, scene: str) -> str:
    return (palette.before, palette.teacher, palette.after, palette.aggregate)[found.scenes.index(scene) % 4]


def line(colour: str, label: str) -> Line2D:
    """An entry of the key."""
    return Line2D([], [], color=colour, marker="o", ms=4, lw=1.8, label=label)


def grid(panels: Sequence[Draw], palette: Palette, *, columns: int | None = None) -> Figure:
    """Panels in rows, with room for a title and a key above them."""
    across = min(columns or _COLUMNS, len(panels))
    down = -(-len(panels) // across)
    figure = new_figure(3.5 * across, 2.75 * down + 0.6, palette)
    places = figure.subplots(down, across, squeeze=False).ravel()
    for axes, draw in zip(places, panels, strict=False):
        draw(axes)
    for axes in places[len(panels) :]:
        axes.remove()
    return figure


def head(figure: Figure, handles: Sequence[Line2D], palette: Palette, title: str) -> None:
    """Title and key."""
    key = figure.legend(
        handles=list(handles), loc="outside upper left", ncols=len(handles), frameon=False, fontsize=SMALL,
        labelcolor=palette.muted, title=title, alignment="left", borderpad=0.2,
    )  # fmt: skip
    key.get_title().set(size=SMALL + 2, color=palette.ink, family=FONT)
