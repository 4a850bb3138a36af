"""The page's sections on the edge server: teacher, decisions, time. Empty strings where there is no data."""

import math

from nestevo_hw.pages.markup import (
    MEASURED,
    SIMULATED,
    card,
    cards,
    heading,
    note,
    table,
    wide,
)
from nestevo_hw.pages.style import THEMED, inline_svg
from nestevo_hw.report.events import Run
from nestevo_hw.report.plots import teacher_panel
from nestevo_hw.report.records import TEACHER, Decision, Deploy, Drift, Generator, Lifecycle, TaskRun
from nestevo_hw.report.summary import evolutions
from nestevo_hw.report.timing import (
    delay_parts,
    gantt,
    gantt_width_in,
    mean_relative_error,
    prediction_scatter,
    predictions,
)
from nestevo_hw.report.upkeep import upkeep_card
from nestevo_hw.report.wording import (
    DASH,
    change,
    counted,
    share,
    teacher_note,
)


def teacher(run: Run) -> str:
    """The teacher's accuracy on the terminals' scenes."""
    if not evolutions(run, TEACHER):
        return ""
    svg = inline_svg(teacher_panel(run, THEMED), "Accuracy of the teacher over the windows")
    caption = "Thick: mean over all scenes, old teacher (orange) to new (violet). Thin: scene by scene."
    contents = [card(svg, caption), upkeep_card(run)]
    return heading("The teacher", SIMULATED) + note(teacher_note(run)) + cards(contents, pairwise=True)


def decisions(run: Run) -> str:
    """What each window decided: who drifted, which evolution, whether the guard let the new teacher in."""
    decided = {(e.window, e.group): e for e in run.of(Decision)}
    generated = {(e.window, e.group): e for e in run.of(Generator)}
    deployed = {(e.window, e.group): e for e in run.of(Deploy)}
    rows = []
    for w, group in sorted({*decided, *generated, *deployed}):
        key = (w, group)
        decision, generator, deploy = decided.get(key), generated.get(key), deployed.get(key)
        left_out = sorted({c for d in run.of(Drift) if d.window == w for c in d.left_out})
        rows.append((
            f"{w} {group}".strip(),
            _drifted(decision, len(run.terminals)) if decision else DASH,
            decision.mode if decision else DASH,
            change(generator.emd_before, generator.emd_after) if generator else DASH,
            change(generator.feature_emd_before, generator.feature_emd_after) if generator else DASH,
            change(generator.overall_emd_before, generator.overall_emd_after) if generator else DASH,
            _guard(deploy) if deploy else DASH,
            ", ".join(left_out) or "none",
        ))  # fmt: skip
    if not rows:
        return ""
    heads = (
        "window",
        "drifted terminals",
        "evolution",
        "label distance",
        "feature distance",
        "distance to all",
        "guard",
        "too rare to compare",
    )
    return (
        heading("What each window decided", MEASURED)
        + note(
            "The teacher evolves only where enough terminals drifted. Label and feature distance: earth mover's "
            "distance between what the terminals train on, without and with generated features; nearer ones make a "
            "better average. Distance to all: from what a terminal trains on to the real features of all terminals "
            "together, lower only where generated features are like real ones. The guard keeps the old teacher if the "
            "new one is worse on held-out labelled frames. Too rare to compare: classes with too few objects to judge "
            "drift by."
        )
        + card(table(heads, rows))
    )


def timing(run: Run) -> str:
    """Tasks by worker, parts of the delay, and how good the predictions were."""
    chart, contents = "", []
    if any(math.isfinite(t.started_s) and math.isfinite(t.ended_s) for t in run.of(TaskRun)):
        svg = inline_svg(gantt(run, THEMED), "Tasks of each worker over time")
        width = round(gantt_width_in(run) * 96) if run.windows > 4 else 760
        chart = card(wide(svg, width), "Each bar is one task on one worker; gaps are idle time. Measured.")
    if any(life.parts for life in run.of(Lifecycle)):
        svg = inline_svg(delay_parts(run, THEMED), "Mean evolution delay of each terminal by its parts")
        contents.append(card(svg, "How long a terminal waits for its better model, and for what."))
    for is_memory, name in ((False, "time"), (True, "memory")):
        points = predictions(run, memory=is_memory)
        if points:
            figure = prediction_scatter(run, THEMED, memory=is_memory)
            svg = inline_svg(figure, f"Predicted against measured {name}")
            caption = (
                f"TaskRun {name}: on the line the prediction was right, within the band off by at most 25 %. "
                f"Mean error {share(mean_relative_error(points))} over {counted(len(points), 'task')}."
            )
            contents.append(card(svg, caption))
    return heading("Where the time went") + chart + cards(contents) if chart or contents else ""


def _drifted(decision: Decision, terminals: int) -> str:
    return f"{decision.drifted} of {terminals} (teacher joins from {decision.epsilon})"


def _guard(deploy: Deploy) -> str:
    text = f"{'accepted' if deploy.accepted else 'rejected'}: {change(deploy.gate_before, deploy.gate_after)}"
    return f"{text} ({deploy.reason})" if deploy.reason else text
