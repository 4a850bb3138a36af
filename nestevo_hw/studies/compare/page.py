"""The page of a comparison: one HTML file without anything outside it, in the style of a run's page."""

from collections.abc import Sequence

from nestevo_hw.base.stats import Estimate
from nestevo_hw.pages.formats import interval, percent, score, share, signed
from nestevo_hw.pages.parts import MEASURED, SIMULATED, Picture, Pill, Tile
from nestevo_hw.pages.style import THEMED, Mark
from nestevo_hw.pages.tables import Table
from nestevo_hw.report.wording import is_digital, origins_text, teacher_origin, teacher_place
from nestevo_hw.studies.compare import measures, plots, table
from nestevo_hw.studies.compare.goals import goals
from nestevo_hw.studies.compare.paper import METRIC
from nestevo_hw.studies.compare.results import Comparison
from nestevo_hw.studies.compare.variants import A2, A4, NESTEVO, Variant
from nestevo_hw.studies.compare.wording import conclusion, steps_text


def page_values(found: Comparison) -> dict[str, object]:
    """What the template comparison.html names."""
    methods, aims = [v for v in found.variants if not v.ablation], goals(found)
    states = [aim.state for aim in aims]
    return {
        "found": found,
        "place": Pill(text=teacher_place(found.config), tone="" if is_digital(found.config) else "wait"),
        "ways": len(methods),
        "lede": conclusion(found),
        "tiles": _tiles(found),
        "beside_paper": found.metric == METRIC and A2 in found.names,
        "accuracy": table.accuracy_table(found, methods).filled(),
        "methods": [Mark(text=f"{v.name}: {v.meaning}", colour=plots.ROLES[v.name]) for v in methods],
        "levels": _levels(found, methods),
        "delay_origins": origins_text(found.origins),
        "evolution": _evolution(found, methods),
        "drift": table.drift_table(found, methods),
        "cells": ", ".join(f"{kind} {len(where)}" for kind, where in found.kinds.items()),
        "kinds": _kinds(found),
        "ablations": _ablations(found),
        "left_out": list(found.left_out.items()),
        "failed": [(run, "; ".join(reasons)) for run, reasons in found.failures.items()],
        "facts": _facts(found),
        "goals": table.goals_table(aims),
        "outcomes": ", ".join(f"{states.count(state)} {state}" for state in ("reached", "missed", "not measured")),
    }


def _tiles(found: Comparison) -> list[Tile]:
    if not found.has(NESTEVO):
        return []
    closed, apart = measures.gap_closed(found, NESTEVO), measures.difference(found, NESTEVO, A4)
    loss = measures.analog_loss(found)
    shown = {
        "terminals": _change("terminals, NestEvo", MEASURED, measures.before(found, NESTEVO),
                             measures.after(found, NESTEVO), measures.gain(found, NESTEVO)),
        "apart": Tile(name="NestEvo minus A4", origin=MEASURED, value=signed(apart.mean, 3),
                      hint=f"paired by seed; {_ci(apart)}"),
        "closed": Tile(name="supervision gap closed", origin=MEASURED, value=share(closed.mean),
                       hint=f"0 is A4, 100 % true labels; {interval(closed.ci95, in_percent=True)}"),
        "teacher": _change("teacher, NestEvo", teacher_origin(found.config), measures.teacher_before(found, NESTEVO),
                           measures.teacher_after(found, NESTEVO), measures.teacher_gain(found, NESTEVO)),
        "loss": Tile(name="lost by the analog teacher", origin=SIMULATED, value=signed(loss.mean, 3),
                     hint=f"terminals, digital minus analog; {_ci(loss)}"),
    }  # fmt: skip
    return [tile for name, tile in shown.items() if name != "loss" or loss.known]


def _change(name: str, origin: str, before: Estimate, after: Estimate, gain: Estimate) -> Tile:
    if not after.known:
        return Tile(name=name, origin=origin, value=score(before.mean), hint=_ci(before))
    hint = f"{percent(gain.mean)}; {_ci(after)}"
    return Tile(name=name, origin=origin, before=score(before.mean), value=score(after.mean), hint=hint)


def _levels(found: Comparison, methods: Sequence[Variant]) -> list[Picture]:
    figure = plots.draw_methods(found, THEMED)
    caption = "terminals after evolving, mean over seeds with its 95 % interval"
    shown = [Picture.of(figure, f"{found.metric} of the terminals by method", caption)]
    if found.has(A4) and len(methods) > 1:
        caption = "same seed, same frames: what each method adds to A4, with its 95 % interval"
        shown.append(Picture.of(plots.draw_paired(found, THEMED), "difference to A4 by method", caption))
    return shown


def _evolution(found: Comparison, methods: Sequence[Variant]) -> Table:
    contrast, teacher = table.contrast_table(found, methods), table.teacher_table(found, methods)
    rows = [(*left, *right[1:]) for left, right in zip(contrast.rows, teacher.rows, strict=True)]
    return Table(heads=(*contrast.heads, *teacher.heads[1:]), rows=rows).filled()


def _kinds(found: Comparison) -> list[Picture]:
    shown = []
    if plots.has_gap(found):
        caption = "colours as above; values beyond the frame are drawn at its edge"
        figure = plots.draw_gap(found, THEMED)
        shown.append(Picture.of(figure, "gap closed by kind of drift and method", caption))
    if found.has(NESTEVO, A4):
        caption = "NestEvo minus A4 under each kind, with its 95 % interval"
        shown.append(Picture.of(plots.draw_kinds(found, THEMED), "NestEvo minus A4 by kind of drift", caption))
    return shown


def _ablations(found: Comparison) -> tuple[Table, list[Picture]] | None:
    names = plots.ablation_names(found)
    if not names:
        return None
    variants = [v for v in found.variants if v.ablation or v.name == NESTEVO or v.name in names]
    shown = table.ablation_table(found, variants)
    meanings = [(*row, v.meaning) for row, v in zip(shown.rows, variants, strict=True)]
    caption = "same seed, same frames: each variant minus NestEvo, with its 95 % interval"
    figure = Picture.of(plots.draw_ablations(found, THEMED), "difference of each ablation to NestEvo", caption)
    return Table(heads=(*shown.heads, "what it is"), rows=meanings), [figure]


def _facts(found: Comparison) -> list[tuple[str, str]]:
    return [
        ("seeds", f"{', '.join(map(str, found.seeds))}; each draws its own streams, device noise and training"),
        ("terminals", ", ".join(f"{name}: {model}" if model else name for name, model in found.prunings.items())),
        ("steps", steps_text(found.config)),
        ("intervals", "95 %; means and paired differences by Student's t over seeds, ratios by Fieller, differences of "
         "relative gains by the delta method; they cover seeds, not the choice of places and kinds of drift"),
        ("unchanged models", "a terminal that did not evolve in a window counts with the accuracy it had"),
        *((v.name, v.meaning) for v in found.variants),
    ]  # fmt: skip


def _ci(estimate: Estimate) -> str:
    return "one seed" if estimate.ci95 is None else f"95 % {interval(estimate.ci95)}"
