"""What a comparison came to, in words."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nestevo_hw.pages.formats import counted, number, percent, share
from nestevo_hw.report.summary import section
from nestevo_hw.studies.compare import measures
from nestevo_hw.studies.compare.results import Comparison
from nestevo_hw.studies.compare.variants import A4, NESTEVO


def conclusion(found: Comparison) -> str:
    """The outcome in one to three sentences, with what the seeds can and cannot tell."""
    means = {name: measures.after(found, name).mean for name in found.names}
    known = {name: value for name, value in means.items() if math.isfinite(value)}
    if not known:
        return "The test frames have no labels or show nothing to find, so accuracy is unknown."
    if NESTEVO not in known:
        best = max(known, key=lambda name: known[name])
        return f"Best of those compared: {best} with {found.metric} {known[best]:.3f}."
    text = (
        f"With NestEvo the terminals go from {found.metric} {measures.before(found, NESTEVO).mean:.3f} to "
        f"{known[NESTEVO]:.3f} ({percent(measures.gain(found, NESTEVO).mean)})."
    )
    if A4 in known:
        text += f" {_against_a4(found)}"
    closed = measures.gap_closed(found, NESTEVO)
    if closed.known:
        text += f" It closes {share(closed.mean)} of the gap between A4 and true labels."
    return text


def failure_lines(failures: Mapping[str, Sequence[str]]) -> list[str]:
    """Which tasks failed for good, one line a run."""
    return [f"failed for good in {run}: {'; '.join(reasons)}" for run, reasons in failures.items()]


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
    if not math.isfinite(mutual + distil):
        return "not recorded"
    return (
        f"{mutual + distil:.0f} a terminal and window ({mutual:.0f} mutual learning, {distil:.0f} distillation; "
        "methods without one of them spend its steps on the other)"
    )
