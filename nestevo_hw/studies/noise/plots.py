"""Pictures of a noise benchmark; each takes its palette, so that the page can follow the reader's theme."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nestevo_hw.pages.formats import metric_text
from nestevo_hw.pages.style import FONT, LINES, SMALL, Mark, Palette, colour_of, dress, legend, new_figure
from nestevo_hw.studies.noise.findings import pair_name
from nestevo_hw.studies.noise.plan import AWARE, PLAIN
from nestevo_hw.studies.noise.points import SweepPoint
from nestevo_hw.studies.noise.results import Benchmark
from nestevo_hw.studies.noise.students import BEFORE, DIGITAL_TEACHER, TRUE_LABELS
from nestevo_hw.studies.noise.sweeps import SWEEPS, Value, moment

PANEL_IN = (4.1, 2.9)
"""Width and height of a panel, inches."""
AGAINST_TEACHER = "student against teacher"
"""Name of the panel that shows every distillation job as a dot."""
_DIGITAL = Mark(text="digital, no noise", colour="muted", shape="dashed")
PAIR_MARKS = (Mark(text=PLAIN, colour="before", shape="line"), Mark(text=AWARE, colour="after", shape="line"), _DIGITAL)
STUDENT_MARKS = (
    Mark(text="teacher", colour="teacher", shape="line"),
    Mark(text="student it teaches", colour="after", shape="line"),
)
_SCENE_COLOURS = ("before", "teacher", "after", "aggregate")
_COLUMNS = 4
Draw = Callable[[Axes], None]


def sweep_marks(found: Benchmark) -> list[Mark]:
    """The key of the sweeps: a colour each scene, and what they are compared with."""
    marks = [Mark(text=s, colour=_scene_colour(found, s), shape="line") for s in found.scenes if s != "all"]
    as_it_is = Mark(text=f"the device as it is, {moment(found.age_s)}", colour="muted", shape="dotted")
    return [*marks, _DIGITAL, *([as_it_is] if found.unswept else [])]


def sweep_panels(found: Benchmark, palette: Palette) -> dict[str, Draw]:
    """One panel a sweep by its name, one line a scene."""
    return {sweep: _sweep_panel(found, sweep, palette) for sweep in found.sweeps}


def pair_panels(found: Benchmark, palette: Palette) -> dict[str, Draw]:
    """Plain and noise-aware model: one panel a sweep and scene."""
    panels = [(sweep, scene) for scene in found.scenes for sweep in found.paired]
    return {pair_name(sweep, scene): _pair_panel(found, sweep, scene, palette) for sweep, scene in panels}


def student_panels(found: Benchmark, palette: Palette) -> dict[str, Draw]:
    """Teacher and student against the teacher's noise, and against one another."""
    panels = {sweep: _student_panel(found, sweep, palette) for sweep in found.taught_sweeps}
    if not panels:
        return {}
    return {**panels, AGAINST_TEACHER: lambda axes: _against_teacher(axes, found, palette)}


def alone(draw: Draw, metric: str, palette: Palette) -> Figure:
    """One panel as a figure of its own."""
    figure = new_figure(*PANEL_IN, palette)
    axes = figure.subplots()
    draw(axes)
    if not axes.get_ylabel():
        axes.set_ylabel(metric_text(metric))
    return figure


def draw_sweeps(found: Benchmark, palette: Palette) -> Figure:
    """All sweeps side by side."""
    title = f"{found.about['model']}, {found.about['analog'] if found.on_device else 'weight noise'} (simulated)"
    panels = list(sweep_panels(found, palette).values())
    return together(panels, found.metric, sweep_marks(found), palette, title=title)


def draw_pair(found: Benchmark, palette: Palette) -> Figure:
    """All panels of plain and noise-aware training side by side."""
    title = f"{found.about['model']}: training with and without weight noise (eq. 18-20)"
    panels = list(pair_panels(found, palette).values())
    return together(panels, found.metric, PAIR_MARKS, palette, title=title, columns=len(found.paired))


def draw_students(found: Benchmark, palette: Palette) -> Figure:
    """All panels on students side by side."""
    title = f"{found.about['student']} taught by {found.about['model']} with noise"
    panels = list(student_panels(found, palette).values())
    return together(panels, found.metric, STUDENT_MARKS, palette, title=title, columns=len(panels))


def together(
    panels: Sequence[Draw], metric: str, marks: Sequence[Mark], palette: Palette, *, title: str, columns: int = _COLUMNS
) -> Figure:
    """Panels in rows below a title and a key."""
    across = min(columns, len(panels))
    down = -(-len(panels) // across)
    figure = new_figure(3.5 * across, 2.75 * down + 0.6, palette)
    places = figure.subplots(down, across, squeeze=False).ravel()
    for axes, draw in zip(places, panels, strict=False):
        draw(axes)
    for axes in places[len(panels) :]:
        axes.remove()
    places[0].set_ylabel(metric_text(metric))
    legend(figure, marks, palette, columns=2 * across, title=title)
    return figure


def _sweep_panel(found: Benchmark, sweep: str, palette: Palette) -> Draw:
    values = [p.value for p in found.of(sweep, found.scenes[0])]

    def draw(axes: Axes) -> None:
        for scene in found.scenes:
            colour = colour_of(palette, _scene_colour(found, scene))
            _level(axes, found.digital_score(scene), colour)
            unswept = found.unswept_in(scene)
            if unswept is not None and sweep not in ("mu", "time_s"):
                _level(axes, unswept.mean, colour, "dotted")
            draw_line(axes, sweep, found.of(sweep, scene), colour, values)
        finish(axes, sweep, values, palette, top=ceiling(found))

    return draw


def _pair_panel(found: Benchmark, sweep: str, scene: str, palette: Palette) -> Draw:
    values = [p.value for p in found.of(sweep, scene, AWARE)]

    def draw(axes: Axes) -> None:
        for training, colour in ((PLAIN, palette.before), (AWARE, palette.after)):
            _level(axes, found.digital_score(scene, training), colour)
            draw_line(axes, sweep, found.of(sweep, scene, training), colour, values)
        finish(axes, sweep, values, palette, top=ceiling(found), scene=scene)

    return draw


def _student_panel(found: Benchmark, sweep: str, palette: Palette) -> Draw:
    def draw(axes: Axes) -> None:
        students, teachers = found.of(sweep, "student"), found.of(sweep, "teacher")
        values = [p.value for p in students]
        draw_line(axes, sweep, teachers, palette.teacher, values)
        draw_line(axes, sweep, students, palette.after, values)
        finish(axes, sweep, values, palette, top=ceiling(found))
        _mark_students(axes, found, palette)

    return draw


def _against_teacher(axes: Axes, found: Benchmark, palette: Palette) -> None:
    """Every distillation job as a dot: how good the teacher was, how good its student became."""
    marks = {"student_mu": ("o", "weight noise"), "student_time_s": ("D", "device")}
    for sweep in found.taught_sweeps:
        x = [s for p in found.of(sweep, "teacher") for s in p.headline]
        y = [s for p in found.of(sweep, "student") for s in p.headline]
        marker, name = marks[sweep]
        axes.scatter(x, y, s=26, marker=marker, facecolor=palette.after, edgecolor=palette.surface, lw=0.6,
                     alpha=0.85, label=name, zorder=3)  # fmt: skip
    dress(axes, palette, grid="both")
    low, high = axes.get_xlim()
    axes.plot((0, 1), (0, 1), color=palette.grid, lw=1.2, zorder=1)
    middle = (low + high) / 2
    axes.text(middle, middle, "as good as its teacher", ha="center", va="top", size=SMALL - 1, color=palette.muted,
              rotation=45, rotation_mode="anchor", transform_rotates_text=True, family=FONT)  # fmt: skip
    axes.set_xlim(low, high)
    axes.set_ylim(0.0, ceiling(found))
    axes.set(xlabel="teacher", ylabel="student")
    _mark_students(axes, found, palette, left=True)
    if len(found.taught_sweeps) > 1:
        axes.legend(frameon=False, fontsize=SMALL - 1, labelcolor=palette.muted, loc="lower right")


def _mark_students(axes: Axes, found: Benchmark, palette: Palette, *, left: bool = False) -> None:
    """Students to compare with, as named horizontal lines."""
    marks = ((TRUE_LABELS, palette.distil), (DIGITAL_TEACHER, palette.mutual), (BEFORE, palette.before))
    for name, colour in marks:
        student = found.student(name)
        if student is not None:
            _level(axes, student.mean, colour)
            axes.text(0.01 if left else 0.99, student.mean, name, transform=axes.get_yaxis_transform(),
                      ha="left" if left else "right", va="bottom", size=SMALL - 1, color=colour)  # fmt: skip


def _level(axes: Axes, score: float, colour: str, shape: str = "dashed") -> None:
    axes.axhline(score, color=colour, ls=LINES[shape], lw=1.1, alpha=0.8, zorder=2)


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


def finish(
    axes: Axes, sweep: str, values: Sequence[Value], palette: Palette, *, top: float, scene: str = "all"
) -> None:  # fmt: skip
    """Axes of a sweep's panel: its values below, scores from 0 to `top`, the scene's name above."""
    entry = SWEEPS[sweep]
    at = _places(sweep, values)
    timed = sweep.endswith("time_s")
    texts = ["0 s" if timed and value == 0 else entry.text(value) for value in values]
    labels = _legible(texts, [at[value] for value in values])
    slanted = sum(map(len, labels)) > 30
    ha: Literal["right", "center"] = "right" if slanted else "center"
    axes.set_xticks(list(at.values()), labels, rotation=25 if slanted else 0, ha=ha)
    scale = "logarithmic, but for 0 s" if 0 in values else "logarithmic"
    below = scale if timed else "" if entry.unit == "preset" else entry.unit
    axes.set_xlabel(f"{entry.title}\n{below}".rstrip())
    dress(axes, palette)
    axes.set_ylim(0.0, top)
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 5, 10)))
    axes.margins(x=0.11)
    if scene != "all":
        axes.set_title(scene, loc="left", size=SMALL + 1, color=palette.ink)


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
    """Places on the axis: bits and mu to scale, times to that of their logarithm, all others in equal steps.

    What happens before the first read, at 0, has its place a decade before the first time.
    """
    if sweep.endswith("time_s"):
        first = min((math.log10(float(value)) for value in values if float(value) > 0), default=0.0)
        return {value: math.log10(float(value)) if float(value) > 0 else first - 1.0 for value in values}
    to_scale = sweep in ("mu", "student_mu", "adc_bits", "dac_bits")
    return {value: float(value) if to_scale else float(i) for i, value in enumerate(values)}


def ceiling(found: Benchmark) -> float:
    """Upper end of the score axis, the same in all panels."""
    every = (*found.points, *found.digital, *found.students)
    return min(1.02, math.ceil(10 * max(max(p.headline) for p in every) + 0.5) / 10)


def _scene_colour(found: Benchmark, scene: str) -> str:
    return _SCENE_COLOURS[found.scenes.index(scene) % len(_SCENE_COLOURS)]
