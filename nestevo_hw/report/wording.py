"""What a run came to, in words: honest about what improved, what did not and what is not known yet."""

import math
from collections.abc import Mapping
from typing import Any

from nestevo_hw.base.text import pasteable
from nestevo_hw.pages.formats import DASH, change, counted, listed, percent, score
from nestevo_hw.pages.parts import MEASURED, ORIGINS, SIMULATED
from nestevo_hw.report.events import Run
from nestevo_hw.report.records.terminal import TEACHER, Accuracy
from nestevo_hw.report.records.work import TaskRun
from nestevo_hw.report.summary import ModelSummary, Summary, section

IMPRESSION = (
    "An impression only (--quick): one window, at most two terminals, few frames and steps. Its figures do not compare "
    "with documented ones, nor with those of a whole run."
)
"""Said wherever figures of such a run stand."""
DIGITAL = "digital"
"""Name of the device of a teacher that runs without a crossbar."""


def headline(run: Run, summary: Summary) -> str:
    """The outcome in one short sentence."""
    scored = summary.evolved
    unscored = len(_evolved(run) - {t.name for t in scored})
    if not scored and not unscored:
        return "No terminal has evolved in this run" if run.complete else "The first evolution is under way"
    so_far = "" if run.complete else " so far"
    if not scored:
        return f"{counted(unscored, 'terminal')} evolved{so_far}, with nothing to score by"
    every, better = len(summary.terminals), sum(t.improved for t in scored)
    if better == every:
        return f"All {every} terminals improved{so_far}" if every > 1 else f"The terminal improved{so_far}"
    worse = sum(t.after < t.before for t in scored)
    others = (
        (worse, "got worse"),
        (len(scored) - better - worse if better else 0, "did not"),
        (unscored, "could not be scored"),
        (every - len(scored) - unscored, "did not evolve"),
    )
    subject = f"{better} of {every} terminals" if better else "No terminal"
    return f"{subject} improved{so_far}" + "".join(f", {count} {what}" for count, what in others if count > 0)


def lede(run: Run, summary: Summary) -> str:
    """The outcome in one or two sentences with its figures."""
    mean, metric = summary.together, summary.metric
    if score(mean.before) == DASH:
        frames = any(a.model != TEACHER for a in run.of(Accuracy))
        return "The test frames have no labels or show nothing to find, so accuracy is unknown." if frames else ""
    if not summary.evolved:
        return f"Mean accuracy of the original models on frames of their own scenes: {metric} {score(mean.before)}."
    text = (
        f"Mean accuracy of the terminals on unseen frames of their own scenes: {metric} {score(mean.before)} before "
        f"evolving, {score(mean.after)} after ({percent(mean.gain)}{_over_adapted(mean)})."
    )
    second = summary.second(mean)
    if math.isfinite(second.after):
        text += f" {summary.second_metric[1]}: {change(second.before, second.after)}."
    if any(t.after > t.before and not t.improved for t in summary.evolved):
        text += " A terminal counts as improved if it also does better than with its BatchNorm adapted."
    return text if run.complete else text + " Unfinished: figures so far."


def unfinished(run: Run) -> str:
    """How a run stands that did not come to its end, and what to do; empty for a complete one."""
    go_on = f"`nestevo-hw evolve --resume {pasteable(run.directory)}` goes on with it."
    ended = run.header.ended
    told = {
        "complete": "",
        "running": "The run is still going.",
        "killed": f"The run has not ended, but no process writes it any more: it was killed. {go_on}",
        "stopped": f"The run was {ended or 'stopped'}.",
        "refused": f"The run was refused: {ended}. Start it with another configuration into a new folder.",
        "failed": f"The run failed: {ended or 'for a reason that was not recorded'}. {go_on}",
    }
    return told[run.state]


def _over_adapted(model: ModelSummary) -> str:
    gain = model.gain_over_adapted
    return "" if gain is None else f"; {percent(gain)} over BatchNorm adaptation alone, {score(model.adapted)}"


def part_name(part: str, origin: str) -> str:
    """A part of the evolution delay in words, and where the record says that it comes from."""
    return f"{_words(part)} ({origin or 'origin not recorded'})"


def origins_text(origins: Mapping[str, str]) -> str:
    """Where the parts of a delay come from, as "training measured; uploads modelled"."""
    by_origin = {origin: [_words(p) for p, o in origins.items() if o == origin] for origin in (*ORIGINS, "")}
    return "; ".join(
        f"{listed(parts)} {origin or 'of unrecorded origin'}" for origin, parts in by_origin.items() if parts
    )


def is_digital(config: Mapping[str, Any]) -> bool | None:
    """Whether a run's teacher computes without a crossbar; None where its configuration does not say."""
    analog = section(config, "teacher").get("analog")
    return None if analog is None else analog == DIGITAL


def teacher_origin(config: Mapping[str, Any]) -> str:
    """Where the teacher's figures come from; empty where the configuration does not say."""
    return {True: MEASURED, False: SIMULATED, None: ""}[is_digital(config)]


def teacher_name(config: Mapping[str, Any]) -> str:
    """What the teacher is."""
    labeller = section(section(config, "teacher"), "labeller")
    if labeller:
        return f"The labeller {str(labeller.get('file')).rpartition('/')[2]}, which is never trained,"
    return str(section(config, "teacher").get("model", "The teacher"))


def teacher_place(config: Mapping[str, Any]) -> str:
    """Where the teacher runs, in a few words."""
    analog = section(config, "teacher").get("analog")
    teacher = "labeller as teacher" if section(section(config, "teacher"), "labeller") else "teacher"
    if analog is None:
        return "place of the teacher not recorded"
    if analog == DIGITAL:
        return f"digital {teacher}"
    return f"{teacher} on a simulated {str(analog).rpartition('/')[2].removesuffix('.toml')} crossbar"


def _evolved(run: Run) -> set[str]:
    """Terminals with a new model, whether it could be scored or not."""
    return {a.model for a in run.of(Accuracy) if a.stage == "after" and a.model != TEACHER}


def _words(part: str) -> str:
    return part.removesuffix("_s").replace("_", " ")


def memory_name(run: Run) -> str:
    """What kind of memory tasks of a run reserve, as its peak is called."""
    on_gpu = any(math.isfinite(task.gpu_peak_bytes) for task in run.of(TaskRun))
    return "GPU memory" if on_gpu else "memory"
