"""The machine-readable report of a comparison."""

from collections.abc import Sequence
from typing import Any

from nestevo_hw.base.stats import Estimate, or_none
from nestevo_hw.studies.compare import measures
from nestevo_hw.studies.compare.gap import gap_document, splits_gap
from nestevo_hw.studies.compare.goals import goals
from nestevo_hw.studies.compare.paper import TABLE_4
from nestevo_hw.studies.compare.results import Comparison, TerminalWindow, of_terminal
from nestevo_hw.studies.compare.variants import A1, A3, A4, ADA_BN, NESTEVO, TRUE_LABELS, Variant


def document_of(found: Comparison) -> dict[str, Any]:
    """All figures with their intervals; null where a figure is not defined or was not measured."""
    return {
        "metric": found.metric,
        "second_metric": found.second_metric,
        "seeds": list(found.seeds),
        "device": ", ".join(found.devices) or None,
        "windows": len({window for _, window in found.terminal_windows}),
        "methods": [_method(found, v) for v in found.variants],
        "by_drift": {
            kind: {
                "cells": [list(place) for place in places],
                **{name: _where(found, name, places) for name in found.names},
            }
            for kind, places in found.kinds.items()
        },
        "paired": {name: _paired(found, name) for name in found.names},
        "analog": {
            "terminals_loss": measures.analog_loss(found).document(),
            "teacher_loss": measures.analog_teacher_loss(found).document(),
        },
        "embedded_default": found.embedded,
        "gap": gap_document(found) if splits_gap(found) else None,
        "goals": [goal.document() for goal in goals(found)],
        "left_out": dict(found.left_out),
        "failures": found.failures,
        "paper": {name: row.document() for name, row in TABLE_4.items()},
    }


def _method(found: Comparison, variant: Variant) -> dict[str, Any]:
    name = variant.name
    teacher = measures.teacher_before(found, name), measures.teacher_after(found, name)
    return {
        "name": name,
        "meaning": variant.meaning,
        "ablation": variant.ablation,
        "changes": dict(variant.changes),
        "terminals": _accuracy(found, name, None),
        **_figure("gain_relative", measures.gain(found, name)),
        **_figure("gain_over_originals", measures.gain_over(found, name, A3)),
        **_figure("gain_over_batch_norm", measures.gain_over(found, name, ADA_BN)),
        **_figure("gap_closed", measures.gap_closed(found, name)),
        **_figure("after_second", measures.after_second(found, name)),
        **_figure("backward_transfer", measures.backward_transfer(found, name)),
        "not_deployed": measures.kept(found, name),
        "by_terminal": {
            terminal: {"pruning": found.prunings[terminal], **_where(found, name, of_terminal(found, terminal))}
            for terminal in found.terminals
        },
        "teacher": {
            "before": teacher[0].value,
            "after": teacher[1].value,
            "after_ci95": teacher[1].bounds,
            **_figure("gain_relative", measures.teacher_gain(found, name)),
        },
        **_figure("delay_s", measures.delay(found, name)),
        **_figure("lcp", measures.life_cycle(found, name)),
        "wall_s": measures.wall(found, name).value,
    }


def _where(found: Comparison, name: str, where: Sequence[TerminalWindow]) -> dict[str, Any]:
    return {
        **_accuracy(found, name, where),
        **_figure("gap_closed", measures.gap_closed(found, name, where)),
        **_figure("minus_a4", measures.difference(found, name, A4, where)),
        **_figure("minus_a1", measures.difference(found, name, A1, where)),
    }


def _accuracy(found: Comparison, name: str, where: Sequence[TerminalWindow] | None) -> dict[str, Any]:
    after = measures.after(found, name, where)
    return {"before": measures.before(found, name, where).value, "after": after.value, "ci95": after.bounds}


def _paired(found: Comparison, name: str) -> dict[str, Any]:
    """Accuracy after evolving minus that of each reference, within each seed."""
    return {
        f"minus_{other.lower().replace('-', '_')}": {
            **measures.difference(found, name, other).document(),
            "by_seed": [or_none(v) for v in measures.difference_by_seed(found, name, other)],
        }
        for other in (NESTEVO, A1, A3, A4, ADA_BN, TRUE_LABELS)
        if other != name and found.has(other)
    }


def _figure(name: str, estimate: Estimate) -> dict[str, Any]:
    return {name: estimate.value, f"{name}_ci95": estimate.bounds}
