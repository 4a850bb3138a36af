"""The page of a profile: one HTML file without anything outside it, and its pictures as PNG files."""

from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

from nestevo_hw.base.files import write_text
from nestevo_hw.pages.markup import MEASURED, MODELLED, card, cards, facts, heading, note, pill, table, tile
from nestevo_hw.pages.style import DARK, LIGHT, THEMED, css_variables, inline_svg, save_png
from nestevo_hw.studies.profile.evaluation import COVERAGE_GOAL, GOALS, THREE_LAYERS, Evaluation, Quantity
from nestevo_hw.studies.profile.plots import error_bars, scatter

QUANTITIES: tuple[Quantity, ...] = ("time", "memory")


def write_page(found: Evaluation, about: dict[str, Any], folder: Path) -> list[str]:
    """Write `report.html` and the PNG files of its pictures; returns their names.

    Raises:
        OutputError: a file cannot be written.
    """
    write_text(folder / "report.html", page_text(found, about))
    names = ["report.html"]
    for quantity in QUANTITIES:
        for name, figure in (
            (f"{quantity}-scatter.png", scatter(found, quantity, LIGHT)),
            (f"{quantity}-errors.png", error_bars(found, quantity, LIGHT)),
        ):
            save_png(figure, folder / name)
            names.append(name)
    return names


def page_text(found: Evaluation, about: dict[str, Any]) -> str:
    """The HTML of a profile's page.

    Args:
        found: judged on architectures left out of training.
        about: of the profile: machine, samples, device.
    """
    parts = (_opening(found, about), _tiles(found), _pictures(found), _methods(found), _machine(about))
    template = Template((resources.files("nestevo_hw.report") / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        title="Profile · NestEvo-HW", light=css_variables(LIGHT), dark=css_variables(DARK), body="\n".join(parts)
    )


def _opening(found: Evaluation, about: dict[str, Any]) -> str:
    goals = found.goals()
    missed = [name.replace("_", " ") for name, reached in goals.items() if not reached]
    verdict = "all goals reached" if not missed else f"missed: {', '.join(missed)}"
    state = pill(verdict, "bad" if missed else "good")
    text = (
        f"Learned from {about['samples']} training tasks measured on this machine, judged on {len(found.judged)} of "
        "architectures it has not seen."
    )
    return (
        f'<p class="eyebrow"><b>NestEvo-HW</b> <span>profile of this machine</span> {state}</p>'
        f'<h1>What a training task will take</h1><p class="lede">{escape(text)}</p>'
    )


def _tiles(found: Evaluation) -> str:
    figures = found.figures()
    low, high = COVERAGE_GOAL
    shown = (
        ("memory, mean error", figures["memory_mape"], f"goal: at most {GOALS['memory_mape']:.0%}"),
        ("over 5 % too low", figures["memory_under_rate"], f"goal: at most {GOALS['memory_under_rate']:.0%}"),
        ("time, mean error", figures["time_mape"], f"goal: at most {GOALS['time_mape']:.0%}"),
        ("inside the 90 % interval", figures["coverage90"], f"goal: {low:.0%} to {high:.0%}"),
    )  # fmt: skip
    return f'<div class="tiles">{"".join(tile(n, MEASURED, f"{v:.1%}", h) for n, v, h in shown)}</div>'


def _pictures(found: Evaluation) -> str:
    drawn = []
    for quantity in QUANTITIES:
        svg = inline_svg(scatter(found, quantity, THEMED), f"predicted against measured {quantity}")
        drawn.append(card(svg, "each dot is one task; bars are 90 % intervals, the band is 10 % error"))
        svg = inline_svg(error_bars(found, quantity, THEMED), f"mean relative error of {quantity} by method")
        drawn.append(card(svg, "all methods on the same samples; logarithmic axis"))
    text = (
        "Every method learned from the same samples and was judged on the same others. Time is that of a step on the "
        f"free machine; single runs lie {found.noise:.1%} from their median on average."
    )
    return heading("Predicted and measured", MEASURED) + note(text) + cards(drawn, pairwise=True)


def _methods(found: Evaluation) -> str:
    rows = [
        (s.quantity, s.method, f"{s.mape:.1%}", f"{s.median:.1%}", f"{s.p90:.1%}", f"{s.under_rate:.1%}")
        for quantity in QUANTITIES
        for s in sorted((s for s in found.scores if s.quantity == quantity), key=lambda s: s.method != THREE_LAYERS)
    ]
    heads = ("quantity", "method", "mean error", "median", "90 % below", "more than 5 % too low")
    outside = sum(e.trust != "inside" for e in found.predictions)
    text = f"{outside} of {len(found.judged)} tasks lie outside what was measured; their intervals are widened."
    return heading("All methods", MEASURED) + note(text) + card(table(heads, rows))


def _machine(about: dict[str, Any]) -> str:
    device = about["device"]
    rows = [(name, str(value)) for name, value in about["machine"].items()]
    rows += [
        ("matrix product", f"{device['macs_per_s'] / 1e9:.1f} G multiply-accumulates/s"),
        ("memory", f"{device['bytes_per_s'] / 1e9:.1f} GB/s"),
        ("call", f"{device['call_s'] * 1e6:.1f} us"),
    ]
    text = "The analytic formula knows only the last three figures."
    return heading("Machine", MODELLED) + note(text) + card(facts(rows))
