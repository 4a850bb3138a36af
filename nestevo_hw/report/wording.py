"""What a run came to, in words: honest about what improved, what did not and what is not known yet."""

import math

from nestevo_hw.base.stats import mean
from nestevo_hw.report.events import Run
from nestevo_hw.report.summary import number, relative_gain, section, summarise

DASH = "\N{EN DASH}"
"""Shown where a value is missing."""
ARROW = "\N{RIGHTWARDS ARROW}"


def headline(run: Run) -> str:
    """The outcome in one short sentence."""
    pairs = _evolved(run)
    better = sum(after > before for before, after in pairs)
    if not pairs:
        return "No terminal has evolved in this run" if run.complete else "The first evolution is under way"
    so_far = "" if run.complete else " so far"
    if better == len(pairs):
        return f"All {len(pairs)} terminals improved{so_far}" if len(pairs) > 1 else f"The terminal improved{so_far}"
    if better == 0:
        return f"No terminal improved{so_far}"
    return f"{better} of {len(pairs)} terminals improved{so_far}, {len(pairs) - better} did not"


def lede(run: Run) -> str:
    """The outcome in one or two sentences with its figures."""
    pairs, metric = _evolved(run), run.header.metric
    if not pairs:
        found = mean(b for b, _ in _scored(run))
        return f"Mean accuracy of the original models on frames of their own scenes: {metric} {score(found)}."
    before, after = mean(b for b, _ in pairs), mean(a for _, a in pairs)
    text = (
        f"Mean accuracy of the terminals on unseen frames of their own scenes: "
        f"{metric} {before:.3f} before evolving, {after:.3f} after ({percent(relative_gain(before, after))})."
    )
    return text if run.complete else text + " Unfinished: figures so far."


def score(value: object) -> str:
    """An accuracy with three decimals."""
    return f"{number(value):.3f}" if math.isfinite(number(value)) else DASH


def percent(value: object) -> str:
    """A relative change in per cent, with its sign."""
    return f"{number(value) * 100:+.1f} %" if math.isfinite(number(value)) else DASH


def duration(seconds: object) -> str:
    """Seconds in the unit people would use."""
    s = number(seconds)
    if not math.isfinite(s):
        return DASH
    if s < 120:
        return f"{s:.1f} s" if s < 10 else f"{s:.0f} s"
    if s < 3600:
        return f"{s // 60:.0f} min {int(s % 60)} s".removesuffix(" 0 s")
    return f"{s / 3600:.3g} h" if s < 48 * 3600 else f"{s / 86400:.3g} days"


def share(value: object) -> str:
    """A share or relative error in per cent."""
    return f"{number(value) * 100:.1f} %" if math.isfinite(number(value)) else DASH


def small(value: object, unit: str) -> str:
    """A figure of any size with two digits, and its unit."""
    return f"{number(value):.2g} {unit}".rstrip() if math.isfinite(number(value)) else DASH


def signed(difference: float) -> str:
    """A difference of accuracies."""
    return f"{difference:+.4f}" if math.isfinite(difference) else DASH


def change(before: float, after: float) -> str:
    """Two figures, before and after."""
    return f"{score(before)} {ARROW} {score(after)}"


def counted(count: int, noun: str) -> str:
    """A number of things."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def memory(count: object) -> str:
    """Bytes as GB."""
    return f"{number(count) / 1e9:.1f} GB" if math.isfinite(number(count)) else DASH


def teacher_place(run: Run) -> str:
    """Where the teacher runs, in a few words."""
    device = section(run.header.config, "teacher").get("device")
    if device is None:
        return "place of the teacher not recorded"
    return "digital teacher" if device == "digital" else f"teacher on a simulated {device} crossbar"


def teacher_note(run: Run) -> str:
    """How the teacher computes in this run."""
    settings = section(run.header.config, "teacher")
    model = settings.get("model", "The teacher")
    if settings.get("device") == "digital":
        return f"{model} runs digitally in this run; no crossbar is simulated."
    return (
        f"{model} computes on analog tiles: its weights are conductances, with programming noise and drift "
        "over time. Its accuracies are measured on these simulated tiles."
    )


def _evolved(run: Run) -> list[tuple[float, float]]:
    """Before and after of every terminal that has both."""
    return [(b, a) for b, a in _scored(run) if math.isfinite(b) and math.isfinite(a)]


def _scored(run: Run) -> list[tuple[float, float]]:
    rows = summarise(run).get("terminals") or ()
    return [(number(t.get("before")), number(t.get("after"))) for t in rows if isinstance(t, dict)]
