"""Figures as people read them: one way each to write a score, a share, a time; a dash where there is none."""

import math
from collections.abc import Iterable, Sequence

DASH = "\N{EN DASH}"
"""Shown where a value is missing."""
ARROW = "\N{RIGHTWARDS ARROW}"
_METRICS = {
    "map50": "mAP@0.50",
    "map75": "mAP@0.75",
    "map": "mAP@0.50:0.95",
    "top1": "top-1 accuracy",
    "top5": "top-5 accuracy",
    "map50_vs_digital": "agreement with the digital model (mAP@0.50)",
    "map75_vs_digital": "agreement with the digital model (mAP@0.75)",
    "map_vs_digital": "agreement with the digital model (mAP@0.50:0.95)",
    "top1_agreement": "agreement with the digital model (first class)",
    "r2_vs_digital": "agreement with the digital model (R^2)",
}
_MEANINGS = {
    "mAP@0.50": "mAP@0.50 is mean average precision, where a detection counts if it overlaps its object by half; "
    "1 is perfect.",
    "accuracy": "Accuracy is the share of frames whose class is named rightly.",
    "top-1 accuracy": "Top-1 accuracy is the share of samples whose class is named first.",
    "agreement with the digital model (first class)": "The agreement is the share of inputs for which a model's first "
    "class is that of the digital model; nothing is known of what is right.",
}


def number(value: object) -> float:
    """A JSON number as float; NaN for null or anything else."""
    return float(value) if isinstance(value, int | float) else math.nan


def score(value: object) -> str:
    """An accuracy with three decimals."""
    return _formatted(value, "{:.3f}")


def percent(value: object) -> str:
    """A relative change in per cent, with its sign."""
    return _formatted(number(value) * 100, "{:+.1f} %")


def share(value: object) -> str:
    """A share or relative error in per cent."""
    return _formatted(number(value) * 100, "{:.1f} %")


def signed(difference: object, digits: int = 4) -> str:
    """A difference of accuracies."""
    return _formatted(difference, f"{{:+.{digits}f}}")


def small(value: object, unit: str = "") -> str:
    """A figure of any size with two digits, and its unit."""
    return _formatted(value, f"{{:.2g}} {unit}".rstrip())


def memory(count: object) -> str:
    """Bytes as GB."""
    return _formatted(number(count) / 1e9, "{:.1f} GB")


def decibels(ratio: object) -> str:
    """A signal-to-noise ratio."""
    return _formatted(ratio, "{:.1f}")


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


def prefixed(value: float, unit: str) -> str:
    """A physical quantity with three digits and a prefix from micro to none."""
    for factor, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "u")):
        if value >= factor:
            return f"{value / factor:.3g} {prefix}{unit}"
    return f"{value:.3g} {unit}"


def change(before: object, after: object) -> str:
    """Two accuracies, before and after; a dash where both are missing."""
    shown = (score(before), score(after))
    return DASH if shown == (DASH, DASH) else f" {ARROW} ".join(shown)


def interval(bounds: Sequence[float] | None, *, in_percent: bool = False) -> str:
    """An interval from its lower to its upper end; a dash where there is none."""
    if bounds is None:
        return DASH
    low, high = bounds
    return f"{100 * low:.0f} to {100 * high:.0f} %" if in_percent else f"{low:.3f} to {high:.3f}"


def plus_minus(text: str, half: float) -> str:
    """A formatted figure with half the width of its interval, where it has one."""
    return f"{text} ±{half:.3f}" if math.isfinite(half) and text != DASH else text


def counted(count: int, noun: str, plural: str = "") -> str:
    """A number of things; `plural` where an s is not enough."""
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def listed(words: Iterable[str]) -> str:
    """Words as in a sentence: "a", "a and b", "a, b and c"."""
    *most, last = list(words) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def metric_text(metric: str) -> str:
    """A metric as people know it."""
    return _METRICS.get(metric, metric)


def metric_meaning(metric: str) -> str:
    """What a metric measures, in a sentence; empty for one that nobody has described."""
    return _MEANINGS.get(metric_text(metric), "")


def _formatted(value: object, template: str) -> str:
    return template.format(number(value)) if math.isfinite(number(value)) else DASH
