"""The page of a comparison: one HTML file without anything outside it, in the style of a run's page."""

from matplotlib.figure import Figure

from nestevo_hw.pages.shell import render
from nestevo_hw.pages.style import THEMED, Mark, inline_svg
from nestevo_hw.pages.tables import Table
from nestevo_hw.report.wording import is_digital, origins_text, teacher_origin, teacher_place
from nestevo_hw.studies.compare import measures, plots, table
from nestevo_hw.studies.compare.gap import gap_table, splits_gap
from nestevo_hw.studies.compare.goals import goals
from nestevo_hw.studies.compare.paper import METRIC
from nestevo_hw.studies.compare.results import Comparison
from nestevo_hw.studies.compare.variants import A2, A4, NESTEVO
from nestevo_hw.studies.compare.wording import conclusion, steps_text


def page_text(found: Comparison) -> str:
    """The HTML of a comparison."""
    methods, aims = [v for v in found.variants if not v.ablation], goals(found)
    states = [aim.state for aim in aims]
    contrast, teacher = table.contrast_table(found, methods), table.teacher_table(found, methods)
    values = {
        "found": found,
        "place": teacher_place(found.config),
        "digital": is_digital(found.config),
        "teacher_origin": teacher_origin(found.config),
        "lede": conclusion(found),
        "nestevo": _nestevo(found) if found.has(NESTEVO) else None,
        "two_of_a2": found.embedded and found.metric == METRIC and found.has(A2),
        "accuracy": table.accuracy_table(found, methods).filled(),
        "methods": [Mark(text=f"{v.name}: {v.meaning}", colour=plots.ROLES[v.name]) for v in methods],
        "svg": {name: inline_svg(figure) for name, figure in _figures(found).items()},
        "delay_origins": origins_text(found.origins),
        "evolution": contrast.beside(teacher).filled(),
        "drift": table.drift_table(found, methods),
        "places": ", ".join(f"{kind} {len(where)}" for kind, where in found.kinds.items()),
        "ablations": _ablations(found),
        "gap": gap_table(found) if splits_gap(found) else None,
        "failed": [(run, "; ".join(reasons)) for run, reasons in found.failures.items()],
        "steps": steps_text(found.config),
        "meanings": [(v.name, v.meaning) for v in found.variants],
        "goals": table.goals_table(aims) if found.embedded else None,
        "outcomes": ", ".join(f"{states.count(state)} {state}" for state in ("reached", "missed", "not measured")),
    }
    return render("comparison.html", values)


def _nestevo(found: Comparison) -> dict[str, object]:
    """The main figures of the method itself."""
    return {
        "before": measures.before(found, NESTEVO),
        "after": measures.after(found, NESTEVO),
        "gain": measures.gain(found, NESTEVO),
        "apart": measures.difference(found, NESTEVO, A4),
        "closed": measures.gap_closed(found, NESTEVO),
        "teacher_before": measures.teacher_before(found, NESTEVO),
        "teacher_after": measures.teacher_after(found, NESTEVO),
        "teacher_gain": measures.teacher_gain(found, NESTEVO),
        "loss": measures.analog_loss(found),
    }


def _figures(found: Comparison) -> dict[str, Figure]:
    """Those that the runs allow, by name."""
    methods = [v for v in found.variants if not v.ablation]
    shown = {
        "methods": (True, plots.draw_methods),
        "paired": (found.has(A4) and len(methods) > 1, plots.draw_paired),
        "gap": (plots.has_gap(found), plots.draw_gap),
        "kinds": (found.has(NESTEVO, A4), plots.draw_kinds),
        "ablations": (bool(plots.ablation_names(found)), plots.draw_ablations),
    }
    return {name: draw(found, THEMED) for name, (possible, draw) in shown.items() if possible}


def _ablations(found: Comparison) -> Table:
    names = {*plots.ablation_names(found), NESTEVO}
    variants = [v for v in found.variants if v.ablation or v.name in names]
    meanings = Table(heads=("variant", "what it is"), rows=[(v.name, v.meaning) for v in variants])
    return table.ablation_table(found, variants).beside(meanings)
