"""What a comparison came to, in words."""

from collections.abc import Mapping
from typing import Any

from nestevo_hw.report.summary import number, section
from nestevo_hw.report.wording import counted, percent, share
from nestevo_hw.studies.compare import measures
from nestevo_hw.studies.compare.results import Comparison
from nestevo_hw.studies.compare.variants import A4, NESTEVO


def conclusion(found: Comparison) -> str:
    """The outcome in one to three sentences, with what the seeds can and cannot tell."""
    if not found.has(NESTEVO):
        best = max(found.names, key=lambda name: measures.after(found, name).mean)
        return f"Best of those compared: {best} with {found.metric} {measures.after(found, best).mean:.3f}."
    before, after = measures.before(found, NESTEVO), measures.after(found, NESTEVO)
    text = (
        f"With NestEvo the terminals go from {found.metric} {before.mean:.3f} to {after.mean:.3f} "
        f"({percent(measures.gain(found, NESTEVO).mean)})."
    )
    if found.has(A4):
        text += f" {_against_a4(found)}"
    closed = measures.gap_closed(found, NESTEVO)
    if closed.known:
        text += f" It closes {share(closed.mean)} of the gap between A4 and true labels."
    return text


def _against_a4(found: Comparison) -> str:
    apart = measures.difference(found, NESTEVO, A4)
    place = f"{abs(apart.mean):.3f} {'above' if apart.mean >= 0 else 'below'}"
    text = f"That is {place} distilling from the unchanged teacher (A4)"
    if apart.ci95 is None:
        return f"{text}, by one seed."
    low, high = apart.ci95
    sure = "" if low > 0 or high < 0 else f"; {counted(len(found.seeds), 'seed')} cannot tell them apart"
    return f"{text}, 95 % interval {low:+.3f} to {high:+.3f}{sure}."


def steps_text(config: Mapping[str, Any]) -> str:
    """Optimiser steps a terminal takes in each window, from the configuration."""
    mutual, distil = (number(section(section(config, key), "plan").get("steps")) for key in ("mutual", "distil"))
    return (
        f"{mutual + distil:.0f} a terminal and window ({mutual:.0f} mutual learning, {distil:.0f} distillation; "
        "methods without one of them spend its steps on the other)"
    )
