"""The comparison as rows of text: for the terminal and for the page."""

import math
from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table

from nestevo_hw.base.stats import Estimate
from nestevo_hw.report.wording import DASH, change, counted, duration, percent, score, share
from nestevo_hw.studies.compare import measures
from nestevo_hw.studies.compare.document import of_terminal
from nestevo_hw.studies.compare.goals import Goal, goals
from nestevo_hw.studies.compare.paper import TABLE_4
from nestevo_hw.studies.compare.results import Comparison
from nestevo_hw.studies.compare.variants import A1, A4, NESTEVO, Variant

Rows = list[tuple[str, ...]]
_MOST_TERMINALS = 6
"""More have no column each in the terminal; the page shows them all."""


def accuracy_heads(found: Comparison, *, terminals: bool = True) -> tuple[str, ...]:
    """Heads of `accuracy_rows`: the columns of the paper's Table 4, and the paper's figures beside ours."""
    named = found.terminals if terminals else ()
    return ("method", "before", *named, "mean after", "gain", "over A3", "paper")


def accuracy_rows(found: Comparison, variants: Sequence[Variant], *, terminals: bool = True) -> Rows:
    """What the terminals reach, one row a variant."""
    rows: Rows = []
    for name in (v.name for v in variants):
        paper = TABLE_4.get(name)
        each = [score(measures.after(found, name, of_terminal(found, t)).mean) for t in found.terminals]
        rows.append((
            name, score(measures.before(found, name).mean), *(each if terminals else ()),
            level(measures.after(found, name)), percent(measures.gain(found, name).mean),
            percent(measures.gain_over_originals(found, name).mean),
            DASH if paper is None else ", ".join([score(paper.mean), *([percent(paper.gain)] if paper.gain else [])]),
        ))  # fmt: skip
    return rows


def contrast_heads() -> tuple[str, ...]:
    """Heads of `contrast_rows`."""
    return ("method", "minus A4", "minus A1", "gap closed", "95 % interval")


def contrast_rows(found: Comparison, variants: Sequence[Variant]) -> Rows:
    """What a variant adds to others, paired by seed; one row a variant."""
    rows: Rows = []
    for name in (v.name for v in variants):
        closed = measures.gap_closed(found, name)
        apart_from = (DASH if name == other else apart(measures.difference(found, name, other)) for other in (A4, A1))
        rows.append((name, *apart_from, share(closed.mean), interval(closed, in_percent=True)))
    return rows


def teacher_heads() -> tuple[str, ...]:
    """Heads of `teacher_rows`."""
    return ("method", "teacher", "gain", "paper", "delay", "life cycle")


def teacher_rows(found: Comparison, variants: Sequence[Variant]) -> Rows:
    """What becomes of the teacher, and what evolving costs; one row a variant."""
    rows: Rows = []
    for name in (v.name for v in variants):
        paper = TABLE_4.get(name)
        rows.append((
            name, teacher_text(found, name), percent(measures.teacher_gain(found, name).mean),
            DASH if paper is None or paper.teacher is None else change(*paper.teacher),
            duration(measures.delay(found, name).mean), score(measures.life_cycle(found, name).mean),
        ))  # fmt: skip
    return rows


def drift_heads() -> tuple[str, ...]:
    """Heads of `drift_rows`."""
    return ("drift", "method", "before", "after", "minus A4", "gap closed", "95 % interval")


def drift_rows(found: Comparison, variants: Sequence[Variant]) -> Rows:
    """Every kind of drift and variant."""
    rows: Rows = []
    for kind, where in found.kinds.items():
        for name in (v.name for v in variants):
            after, closed = measures.after(found, name, where), measures.gap_closed(found, name, where)
            rows.append((
                kind, name, score(measures.before(found, name, where).mean), level(after),
                DASH if name == A4 else apart(measures.difference(found, name, A4, where)),
                share(closed.mean), interval(closed, in_percent=True),
            ))  # fmt: skip
    return rows


def ablation_heads() -> tuple[str, ...]:
    """Heads of `ablation_rows`."""
    return ("variant", "mean after", "minus NestEvo", "teacher", "gain of teacher", "what it is")


def ablation_rows(found: Comparison, variants: Sequence[Variant]) -> Rows:
    """NestEvo with one part changed each, against NestEvo."""
    return [
        (
            v.name, level(measures.after(found, v.name)),
            DASH if v.name == NESTEVO else apart(measures.difference(found, v.name, NESTEVO)),
            teacher_text(found, v.name), percent(measures.teacher_gain(found, v.name).mean), v.meaning,
        )
        for v in variants
    ]  # fmt: skip


def goal_heads() -> tuple[str, ...]:
    """Heads of `goal_rows`."""
    return ("what this project aims at", "target", "measured", "95 % interval", "")


def goal_rows(aims: Sequence[Goal]) -> Rows:
    """Each aim with its figure, reached or missed."""
    return [(aim.name, target_text(aim), _goal_value(aim, aim.estimate.mean), _goal_interval(aim), verdict(aim))
            for aim in aims]  # fmt: skip


def target_text(aim: Goal) -> str:
    """The target of an aim in words."""
    if aim.within_interval:
        return "not below 0"
    return f"{'at most' if aim.at_most else 'at least'} {_goal_value(aim, aim.target)}"


def verdict(aim: Goal) -> str:
    """The state of an aim in words."""
    return ": ".join(text for text in (aim.state, remark(aim)) if text)


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


def interval(estimate: Estimate, *, in_percent: bool = False) -> str:
    """An interval; a dash where there is none."""
    if estimate.ci95 is None:
        return DASH
    low, high = estimate.ci95
    return f"{100 * low:.0f} to {100 * high:.0f} %" if in_percent else f"{low:.3f} to {high:.3f}"


def level(estimate: Estimate) -> str:
    """An accuracy with half the width of its interval."""
    half = "" if math.isnan(estimate.half) else f" ±{estimate.half:.3f}"
    return f"{score(estimate.mean)}{half}"


def apart(estimate: Estimate) -> str:
    """A difference of accuracies with half the width of its interval."""
    if not estimate.known:
        return DASH
    half = "" if math.isnan(estimate.half) else f" ±{estimate.half:.3f}"
    return f"{estimate.mean:+.3f}{half}"


def teacher_text(found: Comparison, name: str) -> str:
    """The teacher before and after; one figure where it never changed."""
    before, after = measures.teacher_before(found, name), measures.teacher_after(found, name)
    if not before.known:
        return DASH
    return change(before.mean, after.mean) if after.known else score(before.mean)


def console_tables(found: Comparison) -> list[Table]:
    """Tables for the terminal: accuracy, differences, teacher and time, ablations, goals."""
    methods = [v for v in found.variants if not v.ablation]
    each = len(found.terminals) <= _MOST_TERMINALS
    title = (
        f"{found.metric} on unseen frames, {counted(len(found.seeds), 'seed')}, ±95 %; paper: its own videos, Table 4"
    )
    tables = [
        _table(title, accuracy_heads(found, terminals=each), accuracy_rows(found, methods, terminals=each)),
        _table("differences paired by seed, ±95 %", contrast_heads(), contrast_rows(found, methods)),
        _table("teacher and time", teacher_heads(), teacher_rows(found, methods)),
    ]
    if len(methods) < len(found.variants):
        shown = [v for v in found.variants if v.ablation or v.name == NESTEVO]
        rows = [row[:-1] for row in ablation_rows(found, shown)]
        tables.append(_table("one part changed (--list says what)", ablation_heads()[:-1], rows))
    tables.append(_table("goals", goal_heads(), goal_rows(goals(found))))
    return tables


def _table(title: str, heads: Sequence[str], rows: Rows) -> Table:
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1))
    texts = {"", "method", "variant", "what this project aims at"}
    for head in heads:
        table.add_column(head, justify="left" if head in texts else "right", no_wrap=head in texts - {""})
    for row in rows:
        table.add_row(*row)
    return table


def _goal_value(aim: Goal, value: float) -> str:
    if not math.isfinite(value):
        return DASH
    return f"{100 * value:.3g} %" if aim.share else f"{value:.3f}"


def _goal_interval(aim: Goal) -> str:
    if aim.estimate.ci95 is None:
        return DASH
    low, high = (_goal_value(aim, bound) for bound in aim.estimate.ci95)
    return f"{low.removesuffix(' %')} to {high}"
