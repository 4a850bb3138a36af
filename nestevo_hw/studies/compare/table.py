"""The tables of a comparison, for its page and for the console."""

import math
from collections.abc import Sequence

from nestevo_hw.base.stats import Estimate
from nestevo_hw.pages.formats import (
    DASH,
    change,
    counted,
    duration,
    interval,
    percent,
    plus_minus,
    score,
    share,
    signed,
)
from nestevo_hw.pages.parts import Pill
from nestevo_hw.pages.tables import Cell, Table
from nestevo_hw.studies.compare import measures
from nestevo_hw.studies.compare.goals import Goal, State, goals
from nestevo_hw.studies.compare.paper import METRIC, TABLE_4, PaperRow
from nestevo_hw.studies.compare.results import Comparison, of_terminal
from nestevo_hw.studies.compare.variants import A1, A3, A4, ADA_BN, NESTEVO, Variant

_MOST_TERMINALS = 6
"""More have no column each on a console; the page shows them all."""
_STATES: dict[State, Pill] = {
    "reached": Pill(text="reached", tone="good"),
    "missed": Pill(text="missed", tone="bad"),
    "not measured": Pill(text="not measured"),
}


def accuracy_table(found: Comparison, variants: Sequence[Variant], *, terminals: bool = True) -> Table:
    """What the terminals reach: the columns of the paper's Table 4, and its figures beside ours if these compare."""
    named = found.terminals if terminals else ()
    rows = []
    for name in (v.name for v in variants):
        paper = _paper(found, name)
        rows.append((
            name, score(measures.before(found, name).mean),
            *(score(measures.after(found, name, of_terminal(found, t)).mean) for t in named),
            level(measures.after(found, name)), score(measures.after_second(found, name).mean),
            percent(measures.gain(found, name).mean), percent(measures.gain_over(found, name, A3).mean),
            percent(measures.gain_over(found, name, ADA_BN).mean),
            DASH if paper is None else ", ".join([score(paper.mean), *([percent(paper.gain)] if paper.gain else [])]),
        ))  # fmt: skip
    heads = ("method", "before", *named, "mean after", found.second_metric, "gain", "over A3", "over AdaBN", "paper")
    seeds = counted(len(found.seeds), "seed")
    paper_text = "; paper: its own videos, Table 4" if _compares(found) else ""
    return Table(heads=heads, rows=rows, title=f"{found.metric} on unseen frames, {seeds}, ±95 %{paper_text}")


def _compares(found: Comparison) -> bool:
    """Whether the paper's figures may stand beside these."""
    return found.embedded and found.metric == METRIC


def _paper(found: Comparison, name: str) -> PaperRow | None:
    return TABLE_4.get(name) if _compares(found) else None


def contrast_table(found: Comparison, variants: Sequence[Variant]) -> Table:
    """What a variant adds to others, paired by seed."""
    rows = []
    for name in (v.name for v in variants):
        closed = measures.gap_closed(found, name)
        apart_from = (
            DASH if name == other else apart(measures.difference(found, name, other)) for other in (A4, A1, ADA_BN)
        )
        rows.append((name, *apart_from, share(closed.mean), interval(closed.ci95, in_percent=True)))
    heads = ("method", "minus A4", "minus A1", "minus AdaBN", "gap closed", "95 % interval")
    return Table(heads=heads, rows=rows, title="differences paired by seed, ±95 %")


def teacher_table(found: Comparison, variants: Sequence[Variant]) -> Table:
    """What becomes of the teacher, and what evolving costs."""
    rows = []
    for name in (v.name for v in variants):
        paper = _paper(found, name)
        rows.append((
            name, teacher_text(found, name), percent(measures.teacher_gain(found, name).mean),
            DASH if paper is None or paper.teacher is None else change(*paper.teacher),
            duration(measures.delay(found, name).mean), score(measures.life_cycle(found, name).mean),
            signed(measures.backward_transfer(found, name).mean, 3), str(measures.kept(found, name)),
        ))  # fmt: skip
    heads = ("method", "teacher", "gain", "paper", "delay", "life cycle", "backward transfer", "not deployed")
    return Table(heads=heads, rows=rows, title="teacher and time")


def drift_table(found: Comparison, variants: Sequence[Variant]) -> Table:
    """Every kind of drift and variant."""
    rows = []
    for kind, where in found.kinds.items():
        for name in (v.name for v in variants):
            after, closed = measures.after(found, name, where), measures.gap_closed(found, name, where)
            rows.append((
                kind, name, score(measures.before(found, name, where).mean), level(after),
                DASH if name == A4 else apart(measures.difference(found, name, A4, where)),
                share(closed.mean), interval(closed.ci95, in_percent=True),
            ))  # fmt: skip
    return Table(heads=("drift", "method", "before", "after", "minus A4", "gap closed", "95 % interval"), rows=rows)


def ablation_table(found: Comparison, variants: Sequence[Variant]) -> Table:
    """NestEvo with one part changed each, against NestEvo."""
    rows = [
        (
            v.name, level(measures.after(found, v.name)),
            DASH if v.name == NESTEVO else apart(measures.difference(found, v.name, NESTEVO)),
            teacher_text(found, v.name), percent(measures.teacher_gain(found, v.name).mean),
        )
        for v in variants
    ]  # fmt: skip
    heads = ("variant", "mean after", "minus NestEvo", "teacher", "gain of teacher")
    return Table(heads=heads, rows=rows, title="one part changed (--list says what)")


def goals_table(aims: Sequence[Goal]) -> Table:
    """Each aim with its figure, reached or missed."""
    rows: list[tuple[Cell, ...]] = [
        (aim.name, target_text(aim), _goal_value(aim, aim.estimate.mean), _goal_interval(aim), _STATES[aim.state],
         remark(aim))
        for aim in aims
    ]  # fmt: skip
    heads = ("what this project aims at", "target", "measured", "95 % interval", "outcome", "remark")
    return Table(heads=heads, rows=rows, title="goals")


def target_text(aim: Goal) -> str:
    """The target of an aim in words."""
    if aim.within_interval:
        return "not below 0"
    return f"{'at most' if aim.at_most else 'at least'} {_goal_value(aim, aim.target)}"


def remark(aim: Goal) -> str:
    """Why an aim was not measured, or that the seeds could as well have come out on the other side of it."""
    if aim.state == "not measured":
        return aim.why
    if aim.estimate.ci95 is None:
        return "no interval"
    if not aim.within_interval:
        return "uncertain" if aim.certain is False else ""
    low = aim.estimate.ci95[0]
    return f"room for {-low:.3f} worse" if low < 0.0 and aim.state == "reached" else ""


def level(estimate: Estimate) -> str:
    """An accuracy with half the width of its interval."""
    return plus_minus(score(estimate.mean), estimate.half)


def apart(estimate: Estimate) -> str:
    """A difference of accuracies with half the width of its interval."""
    return plus_minus(signed(estimate.mean, 3), estimate.half)


def teacher_text(found: Comparison, name: str) -> str:
    """The teacher before and after; one figure where it never changed."""
    before, after = measures.teacher_before(found, name), measures.teacher_after(found, name)
    return change(before.mean, after.mean) if before.known and after.known else score(before.mean)


def console_tables(found: Comparison) -> list[Table]:
    """Tables for the console: accuracy, differences, teacher and time, ablations, goals."""
    methods = [v for v in found.variants if not v.ablation]
    each = len(found.terminals) <= _MOST_TERMINALS
    tables = [
        accuracy_table(found, methods, terminals=each).filled(),
        contrast_table(found, methods),
        teacher_table(found, methods).filled(),
    ] if methods else []  # fmt: skip
    if len(methods) < len(found.variants):
        tables.append(ablation_table(found, [v for v in found.variants if v.ablation or v.name == NESTEVO]))
    return [*tables, goals_table(goals(found))] if found.embedded else tables


def _goal_value(aim: Goal, value: float) -> str:
    if not math.isfinite(value):
        return DASH
    return f"{100 * value:.3g} %" if aim.share else f"{value:.3f}"


def _goal_interval(aim: Goal) -> str:
    if aim.estimate.ci95 is None:
        return DASH
    low, high = (_goal_value(aim, bound) for bound in aim.estimate.ci95)
    return f"{low.removesuffix(' %')} to {high}"
