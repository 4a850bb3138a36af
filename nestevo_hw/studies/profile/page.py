"""The page of a profile: one HTML file without anything outside it, and its pictures as PNG files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from nestevo_hw.base.files import write_text
from nestevo_hw.pages.formats import counted
from nestevo_hw.pages.shell import render
from nestevo_hw.pages.style import LIGHT, THEMED, Palette, inline_svg, save_png
from nestevo_hw.pages.tables import Table
from nestevo_hw.studies.profile.evaluation import COVERAGE_GOAL, GOALS, THREE_LAYERS, Evaluation, Quantity
from nestevo_hw.studies.profile.plots import error_bars, scatter, scatter_marks

_GOAL_NAMES = {
    "memory_mape": "mean error of memory",
    "memory_under_rate": "memory over 5 % too low",
    "time_mape": "mean error of time",
    "coverage90": "90 % intervals of time",
    "coverage90_memory": "90 % intervals of memory",
}
QUANTITIES: tuple[Quantity, ...] = ("time", "memory")


def write_page(found: Evaluation, about: Mapping[str, Any], folder: Path) -> list[str]:
    """Write `report.html` and the PNG files of its pictures; returns their names.

    Args:
        found: judged on architectures left out of training.
        about: of the profile: machine, samples, device.
        folder: to write into.

    Raises:
        OutputError: a file cannot be written.
    """
    write_text(folder / "report.html", page_text(found, about))
    drawn = figures(found, LIGHT)
    for name, figure in drawn.items():
        save_png(figure, folder / f"{name}.png")
    return ["report.html", *(f"{name}.png" for name in drawn)]


def figures(found: Evaluation, palette: Palette) -> dict[str, Figure]:
    """All pictures by name."""
    return {f"{quantity}-scatter": scatter(found, quantity, palette) for quantity in QUANTITIES} | {
        f"{quantity}-errors": error_bars(found, quantity, palette) for quantity in QUANTITIES
    }


def errors_table(found: Evaluation) -> Table:
    """Errors of every method, the learned profile first."""
    scores = sorted(found.scores, key=lambda s: (QUANTITIES.index(s.quantity), s.method != THREE_LAYERS))
    return Table(
        title=f"errors on {counted(len(found.judged), 'task')} of other architectures (measured)",
        heads=("quantity", "method", "mean error", "median", "90 % below", "over 5 % too low"),
        rows=[
            (s.quantity, s.method, f"{s.mape:.1%}", f"{s.median:.1%}", f"{s.p90:.1%}", f"{s.under_rate:.1%}")
            for s in scores
        ],
        marked=frozenset(i for i, s in enumerate(scores) if s.method == THREE_LAYERS),
    )


def page_text(found: Evaluation, about: Mapping[str, Any]) -> str:
    """The HTML of a profile's page."""
    values = {
        "missed": [_GOAL_NAMES[name] for name, reached in found.goals().items() if not reached],
        "about": about,
        "judged": len(found.judged),
        "noise": found.noise,
        "outside": sum(p.trust != "inside" for p in found.predictions),
        "figures": found.figures(),
        "goals": GOALS,
        "coverage_goal": COVERAGE_GOAL,
        "quantities": QUANTITIES,
        "svg": {name: inline_svg(figure) for name, figure in figures(found, THEMED).items()},
        "marks": scatter_marks(found),
        "errors": errors_table(found),
    }
    return render("profile.html", values)
