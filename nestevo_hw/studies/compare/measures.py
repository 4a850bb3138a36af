"""What a comparison measures: each figure over seeds, paired wherever methods share their frames.

Accuracies are those a terminal reaches at the end of a window on later frames of it, averaged over terminals and
windows within each seed; where they are compared, over those of which all that is compared has a score.
"""

import math
from collections.abc import Callable, Mapping, Sequence

from nestevo_hw.base.stats import Estimate, mean
from nestevo_hw.studies.compare.intervals import difference_of_ratios, less_one, minus, ratio_of
from nestevo_hw.studies.compare.results import Comparison, Outcome, TerminalWindow
from nestevo_hw.studies.compare.variants import A3, A4, DIGITAL_TEACHER, NESTEVO, TRUE_LABELS

Where = Sequence[TerminalWindow] | None
"""Terminals and windows to average over; None for all."""
Levels = Callable[[Outcome], Mapping[TerminalWindow, float]]
"""Accuracies of a run."""


def _together(found: Comparison, *sides: tuple[str, Levels], where: Where = None) -> list[list[float]]:
    """Mean accuracy of every seed, of several variants, over what each of them has a score of with that seed.

    Args:
        found: the comparison.
        sides: names of variants, and which of their accuracies.
        where: terminals and windows to average over.

    Returns:
        One list a side; NaN where a variant did not run.
    """
    if not found.has(*(name for name, _ in sides)):
        return [[math.nan] * len(found.seeds) for _ in sides]
    chosen = found.terminal_windows if where is None else where
    means = []
    for seed in found.seeds:
        levels = [of_run(found.outcomes[name, seed]) for name, of_run in sides]
        shared = [place for place in chosen if all(math.isfinite(each.get(place, math.nan)) for each in levels)]
        means.append([mean(each[place] for place in shared) for each in levels])
    return [list(column) for column in zip(*means, strict=True)]


def _before(run: Outcome) -> Mapping[TerminalWindow, float]:
    return run.before


def _after(run: Outcome) -> Mapping[TerminalWindow, float]:
    return run.after


def _after_of(found: Comparison, *names: str, where: Where = None) -> list[list[float]]:
    return _together(found, *((name, _after) for name in names), where=where)


def before_by_seed(found: Comparison, name: str, where: Where = None) -> list[float]:
    """Mean accuracy before evolving, of every seed; NaN where a variant did not run."""
    return _together(found, (name, _before), where=where)[0]


def after_by_seed(found: Comparison, name: str, where: Where = None) -> list[float]:
    """Mean accuracy after evolving, of every seed; NaN where a variant did not run."""
    return _together(found, (name, _after), where=where)[0]


def after_second(found: Comparison, name: str) -> Estimate:
    """Mean accuracy after evolving by the second metric."""
    chosen = found.terminal_windows
    return Estimate.of(found.by_seed(name, lambda run: mean(run.after_second.get(place, math.nan) for place in chosen)))


def backward_transfer(found: Comparison, name: str) -> Estimate:
    """Mean change of accuracy on earlier scenes since they were learned."""
    return Estimate.of(found.by_seed(name, lambda run: run.backward_transfer))


def kept(found: Comparison, name: str) -> int:
    """Evolutions, over all seeds, whose model was not deployed."""
    return sum(int(count) for count in found.by_seed(name, lambda run: run.kept))


def before(found: Comparison, name: str, where: Where = None) -> Estimate:
    """Mean accuracy before evolving."""
    return Estimate.of(before_by_seed(found, name, where))


def after(found: Comparison, name: str, where: Where = None) -> Estimate:
    """Mean accuracy after evolving."""
    return Estimate.of(after_by_seed(found, name, where))


def gain(found: Comparison, name: str, where: Where = None) -> Estimate:
    """Relative gain of the terminals, after / before - 1, each window from the model it started with."""
    return less_one(ratio_of(*_together(found, (name, _after), (name, _before), where=where)))


def gain_over(found: Comparison, name: str, other: str) -> Estimate:
    """Relative gain over another method on the same frames; that over A3 (never evolve) is the gain of Table 4."""
    return less_one(ratio_of(*_after_of(found, name, other)))


def lead(found: Comparison, name: str, other: str) -> Estimate:
    """Relative gain over the originals (A3) of one method minus that of another."""
    mine, theirs, originals = _after_of(found, name, other, A3)
    return difference_of_ratios((mine, originals), (theirs, originals))


def difference_by_seed(found: Comparison, name: str, other: str, where: Where = None) -> list[float]:
    """Accuracy after evolving of one variant minus that of another, of every seed."""
    return minus(*_after_of(found, name, other, where=where))


def difference(found: Comparison, name: str, other: str, where: Where = None) -> Estimate:
    """Accuracy after evolving of one variant minus that of another, paired by seed."""
    return Estimate.of(difference_by_seed(found, name, other, where))


def gap_closed(found: Comparison, name: str, where: Where = None) -> Estimate:
    """Share of the room between A4 and true labels that a method fills: (method - A4) / (true labels - A4).

    0 is A4 and 1 is training on the truth; not defined where true labels are no better than A4.
    """
    share = _share_of_gap(found, name, where)
    # Of these two it is known beforehand.
    return Estimate(mean=share.mean) if name in (A4, TRUE_LABELS) else share


def _share_of_gap(found: Comparison, name: str, where: Where) -> Estimate:
    mine, least, most = _after_of(found, name, A4, TRUE_LABELS, where=where)
    return ratio_of(minus(mine, least), minus(most, least))


def teacher_before(found: Comparison, name: str) -> Estimate:
    """The teacher's mean accuracy over all terminals' frames, before it evolved; over all windows if it never did."""
    evolved = found.by_seed(name, lambda run: run.teacher_before if math.isfinite(run.teacher_after) else math.nan)
    if any(math.isfinite(v) for v in evolved):
        return Estimate.of(evolved)
    return Estimate.of(found.by_seed(name, lambda run: run.teacher_before))


def teacher_after(found: Comparison, name: str) -> Estimate:
    """The same after them; not defined where it never evolved."""
    return Estimate.of(found.by_seed(name, lambda run: run.teacher_after))


def teacher_gain(found: Comparison, name: str) -> Estimate:
    """Relative gain of the teacher over the seeds in which it evolved."""
    if not found.has(name):
        return Estimate()
    after_, before_ = (
        found.by_seed(name, lambda run: run.teacher_after),
        found.by_seed(name, lambda run: run.teacher_before),
    )
    return less_one(ratio_of(after_, before_))


def teacher_gain_over(found: Comparison, name: str, other: str) -> Estimate:
    """Relative gain of the teacher over that of another method after the same windows, with its scenes' statistics."""
    if not found.has(name, other):
        return Estimate()
    pairs = [_teachers_after(found.outcomes[name, seed], found.outcomes[other, seed]) for seed in found.seeds]
    return less_one(ratio_of([mine for mine, _ in pairs], [theirs for _, theirs in pairs]))


def analog_loss(found: Comparison) -> Estimate:
    """Accuracy the terminals lose because their teacher computes on the crossbar: digital teacher minus analog."""
    return difference(found, DIGITAL_TEACHER, NESTEVO)


def analog_teacher_loss(found: Comparison) -> Estimate:
    """Accuracy the teacher itself loses on the crossbar, until it evolves in either of both."""
    if not found.has(DIGITAL_TEACHER, NESTEVO):
        return Estimate()
    pairs = [
        _first_teachers(*(found.outcomes[name, seed] for name in (DIGITAL_TEACHER, NESTEVO))) for seed in found.seeds
    ]
    return Estimate.of([digital - analog for digital, analog in pairs])


def _teachers_after(one: Outcome, other: Outcome) -> tuple[float, float]:
    """Both teachers' mean accuracies after the windows for which both are known."""
    return _over_shared(*({e.window: e.after for e in run.teacher if math.isfinite(e.after)} for run in (one, other)))


def _first_teachers(one: Outcome, other: Outcome) -> tuple[float, float]:
    """Both teachers' mean accuracies before the windows up to the first in which either evolved."""
    first = min((e.window for run in (one, other) for e in run.teacher if math.isfinite(e.after)), default=math.inf)
    return _over_shared(*({e.window: e.before for e in run.teacher if e.window <= first} for run in (one, other)))


def _over_shared(mine: Mapping[int, float], theirs: Mapping[int, float]) -> tuple[float, float]:
    """Means over the windows of both."""
    shared = sorted(mine.keys() & theirs.keys())
    return mean(mine[window] for window in shared), mean(theirs[window] for window in shared)


def delay(found: Comparison, name: str) -> Estimate:
    """Mean evolution delay, seconds; training measured on this machine, links modelled."""
    return Estimate.of(found.by_seed(name, lambda run: run.delay_s))


def life_cycle(found: Comparison, name: str) -> Estimate:
    """Mean life-cycle performance (eq. 6)."""
    return Estimate.of(found.by_seed(name, lambda run: run.lcp))


def wall(found: Comparison, name: str) -> Estimate:
    """Time one run took, seconds."""
    return Estimate.of(found.by_seed(name, lambda run: run.wall_s))
