"""The page of a comparison: one HTML file without anything outside it, in the style of a run's page."""

from html import escape

from nestevo_hw.base.stats import Estimate
from nestevo_hw.evolution.teacher import DIGITAL
from nestevo_hw.pages.markup import MEASURED, SIMULATED, card, cards, facts, heading, legend, note, pill, tile
from nestevo_hw.pages.markup import table as html_table
from nestevo_hw.pages.style import THEMED, inline_svg
from nestevo_hw.report.summary import section
from nestevo_hw.report.wording import ARROW, DASH, counted, percent, score, share
from nestevo_hw.studies.compare import measures, plots, table
from nestevo_hw.studies.compare.goals import goals
from nestevo_hw.studies.compare.results import Comparison
from nestevo_hw.studies.compare.variants import A4, NESTEVO
from nestevo_hw.studies.compare.wording import conclusion, steps_text
from nestevo_hw.studies.noise.page import whole_page


def page_text(found: Comparison) -> str:
    """The HTML of a comparison."""
    parts = (_opening(found), _tiles(found), _accuracy(found), _evolution(found), _drift(found), _ablations(found),
             _left_out(found), _how(found), _goals(found), _closing())  # fmt: skip
    return whole_page("Comparison · NestEvo-HW", parts)


def _opening(found: Comparison) -> str:
    device = _device(found)
    kind = pill("digital teacher") if device == DIGITAL else pill(f"simulated {device} crossbar", "wait")
    ways = sum(not v.ablation for v in found.variants)
    title = f"{counted(ways, 'way')} to keep {counted(len(found.terminals), 'terminal')} accurate"
    return (
        f'<p class="eyebrow"><b>NestEvo-HW</b> <span>comparison</span> {kind}</p><h1>{escape(title)}</h1>'
        f'<p class="lede">{escape(conclusion(found))}</p>'
        + note(
            f"Same {counted(len(found.seeds), 'seed')}, same frames, same budget of optimiser steps for every method. "
            "Accuracies are those on later frames of each window that nobody learned from."
        )
    )


def _device(found: Comparison) -> str:
    return str(section(found.config, "teacher").get("device"))


def _origin(found: Comparison) -> str:
    """Where accuracies come from."""
    return MEASURED if _device(found) == DIGITAL else SIMULATED


def _tiles(found: Comparison) -> str:
    if not found.has(NESTEVO):
        return ""
    before, after = measures.before(found, NESTEVO), measures.after(found, NESTEVO)
    closed, apart = measures.gap_closed(found, NESTEVO), measures.difference(found, NESTEVO, A4)
    teacher = measures.teacher_before(found, NESTEVO), measures.teacher_after(found, NESTEVO)
    origin = _origin(found)
    tiles = [
        tile("terminals, NestEvo", origin, _from_to(before, after),
             f"{percent(measures.gain(found, NESTEVO).mean)}; {_ci(after)}"),
        tile("NestEvo minus A4", origin, f"{apart.mean:+.3f}" if apart.known else DASH,
             f"paired by seed; {_ci(apart)}"),
        tile("supervision gap closed", origin, share(closed.mean),
             f"0 is A4, 100 % true labels; {table.interval(closed, in_percent=True)}"),
        tile("teacher, NestEvo", origin, _from_to(*teacher),
             f"{percent(measures.teacher_gain(found, NESTEVO).mean)}; {_ci(teacher[1])}"),
    ]  # fmt: skip
    loss = measures.analog_loss(found)
    if loss.known:
        tiles.append(tile("lost by the analog teacher", origin, f"{loss.mean:+.3f}",
                          f"terminals, digital minus analog; {_ci(loss)}"))  # fmt: skip
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _accuracy(found: Comparison) -> str:
    methods = [v for v in found.variants if not v.ablation]
    key = legend([("bar", plots.ROLES[v.name], f"{v.name}: {v.meaning}") for v in methods])
    text = (
        "Columns as in the paper's Table 4, means over seeds and windows, ± half the 95 % interval. Gain: each window "
        "from the model it started with. Over A3: against terminals that never evolved, on the same frames. The column "
        "paper holds the paper's figures, on its own videos with larger models: to compare in kind, not in size. Its "
        "A2 is printed as 0.505; its cells give 0.493."
    )
    rows = html_table(table.accuracy_heads(found), table.accuracy_rows(found, methods))
    figure = inline_svg(plots.draw_methods(found, THEMED), f"{found.metric} of the terminals by method")
    figures = [card(figure, "terminals after evolving, mean over seeds with its 95 % interval")]
    if found.has(A4) and len(methods) > 1:
        drawn = inline_svg(plots.draw_paired(found, THEMED), "difference to A4 by method")
        figures.append(card(drawn, "same seed, same frames: what each method adds to A4, with its 95 % interval"))
    title = heading("What the terminals reach", _origin(found))
    return title + note(text) + card(rows) + key + cards(figures, pairwise=True)


def _evolution(found: Comparison) -> str:
    methods = [v for v in found.variants if not v.ablation]
    text = (
        "Differences are formed within each seed. Gap closed is (method - A4) / (true labels - A4) of the means, with "
        "Fieller's interval. A delay adds what was measured on this machine (training, waiting) and what is modelled "
        "(links, and labelling and programming on the chip). A teacher that does not evolve can still change, by being "
        "programmed again."
    )
    halves = zip(table.contrast_rows(found, methods), table.teacher_rows(found, methods), strict=True)
    heads = (*table.contrast_heads(), *table.teacher_heads()[1:])
    rows = html_table(heads, [(*contrast, *teacher[1:]) for contrast, teacher in halves])
    return heading("What evolution adds and costs") + note(text) + card(rows)


def _drift(found: Comparison) -> str:
    methods = [v for v in found.variants if not v.ablation]
    text = (
        "Terminals and windows in which each condition holds; where two hold at a time, a cell counts for both. "
        f"A dash: not defined, or one seed only. {_cells_text(found)}"
    )
    rows = html_table(table.drift_heads(), table.drift_rows(found, methods))
    parts = [heading("By kind of drift", _origin(found)), note(text), card(rows)]
    figures = []
    if plots.has_gap(found):
        drawn = inline_svg(plots.draw_gap(found, THEMED), "gap closed by kind of drift and method")
        figures.append(card(drawn, "colours as above; values beyond the frame are drawn at its edge"))
    if found.has(NESTEVO, A4):
        drawn = inline_svg(plots.draw_kinds(found, THEMED), "NestEvo minus A4 by kind of drift")
        figures.append(card(drawn, "NestEvo minus A4 under each kind, with its 95 % interval"))
    return "".join([*parts, cards(figures, pairwise=True)])


def _cells_text(found: Comparison) -> str:
    counts = ", ".join(f"{kind} {len(where)}" for kind, where in found.kinds.items())
    return f"Cells a seed: {counts}."


def _ablations(found: Comparison) -> str:
    names = plots.ablation_names(found)
    variants = [v for v in found.variants if v.ablation or v.name == NESTEVO or v.name in names]
    if not names:
        return ""
    drawn = inline_svg(plots.draw_ablations(found, THEMED), "difference of each ablation to NestEvo")
    text = "One part of the method changed, all else equal; left of zero the part is worth having."
    figure = card(drawn, "same seed, same frames: each variant minus NestEvo, with its 95 % interval")
    rows = html_table(table.ablation_heads(), table.ablation_rows(found, variants))
    return heading("What each part is worth", _origin(found)) + note(text) + card(rows) + cards([figure], pairwise=True)


def _left_out(found: Comparison) -> str:
    failed = {run: "; ".join(reasons) for run, reasons in found.failures.items()}
    shown = ""
    if found.left_out:
        shown += heading("What did not run") + card(facts(list(found.left_out.items())))
    if failed:
        text = "These tasks failed for good; the terminals they served kept their model for that window."
        shown += heading("What failed") + note(text) + card(facts(list(failed.items())))
    return shown


def _how(found: Comparison) -> str:
    rows = [
        ("seeds", f"{', '.join(map(str, found.seeds))}; each draws its own streams, device noise and training"),
        ("terminals", ", ".join(f"{name}: {model}" if model else name for name, model in found.prunings.items())),
        ("steps", steps_text(found.config)),
        ("intervals", "95 %; means and paired differences by Student's t over seeds, ratios by Fieller, differences of "
         "relative gains by the delta method; they cover seeds, not the choice of places and kinds of drift"),
        ("unchanged models", "a terminal that did not evolve in a window counts with the accuracy it had"),
        *((v.name, v.meaning) for v in found.variants),
    ]  # fmt: skip
    return heading("How it was compared") + card(facts(rows))


def _goals(found: Comparison) -> str:
    aims = goals(found)
    reached = sum(aim.state == "reached" for aim in aims)
    missed = sum(aim.state == "missed" for aim in aims)
    text = (
        f"{reached} reached, {missed} missed, {len(aims) - reached - missed} not measured, by the mean over seeds. "
        "Uncertain: the interval holds the target, so other seeds could come out on its other side."
    )
    tones = {"reached": "good", "missed": "bad", "not measured": ""}
    rows = []
    for aim, row in zip(aims, table.goal_rows(aims), strict=True):
        cells = "".join(f"<td>{escape(cell)}</td>" for cell in row[:-1])
        rows.append(f"<tr>{cells}<td>{pill(aim.state, tones[aim.state])} {escape(table.remark(aim))}</td></tr>")
    head = "".join(f"<th>{escape(text)}</th>" for text in table.goal_heads())
    shown = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    return heading("Goals") + note(text) + card(shown)


def _closing() -> str:
    return (
        "<footer>Written by <code>nestevo-hw compare</code>; comparison.json holds the same, and every run's folder "
        "its own page.</footer>"
    )


def _from_to(before: Estimate, after: Estimate) -> str:
    if not after.known:
        return score(before.mean)
    return f'<span class="from">{score(before.mean)} {ARROW}</span> {score(after.mean)}'


def _ci(estimate: Estimate) -> str:
    return "one seed" if estimate.ci95 is None else f"95 % {table.interval(estimate)}"
