"""The page of a profile: one HTML file without anything outside it, and its pictures as PNG files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nestevo_hw.pages.parts import MEASURED, Picture, Pill, Tile
from nestevo_hw.pages.shell import write_page
from nestevo_hw.pages.style import LIGHT, THEMED, save_png
from nestevo_hw.pages.tables import Table
from nestevo_hw.studies.profile.evaluation import COVERAGE_GOAL, GOALS, THREE_LAYERS, Evaluation, Quantity
from nestevo_hw.studies.profile.plots import error_bars, scatter, scatter_marks

QUANTITIES: tuple[Quantity, ...] = ("time", "memory")


def write_files(found: Evaluation, about: Mapping[str, Any], folder: Path) -> list[str]:
    """Write `report.html` and the PNG files of its pictures; returns their names.

    Args:
        found: judged on architectures left out of training.
        about: of the profile: machine, samples, device.
        folder: to write into.

    Raises:
        OutputError: a file cannot be written.
    """
    write_page(folder / "report.html", "profile.html", page_values(found, about))
    names = ["report.html"]
    for quantity in QUANTITIES:
        for name, figure in (
            (f"{quantity}-scatter.png", scatter(found, quantity, LIGHT)),
            (f"{quantity}-errors.png", error_bars(found, quantity, LIGHT)),
        ):
            save_png(figure, folder / name)
            names.append(name)
    return names


def errors_table(found: Evaluation) -> Table:
    """Errors of every method, the learned profile first."""
    scores = sorted(found.scores, key=lambda s: (QUANTITIES.index(s.quantity), s.method != THREE_LAYERS))
    return Table(
        title=f"errors on {len(found.judged)} tasks of other architectures (measured)",
        heads=("quantity", "method", "mean error", "median", "90 % below", "over 5 % too low"),
        rows=[
            (s.quantity, s.method, f"{s.mape:.1%}", f"{s.median:.1%}", f"{s.p90:.1%}", f"{s.under_rate:.1%}")
            for s in scores
        ],
        marked=frozenset(i for i, s in enumerate(scores) if s.method == THREE_LAYERS),
    )


def page_values(found: Evaluation, about: Mapping[str, Any]) -> dict[str, object]:
    """What the template profile.html names."""
    missed = [name.replace("_", " ") for name, reached in found.goals().items() if not reached]
    return {
        "state": Pill(text=f"missed: {', '.join(missed)}", tone="bad")
        if missed
        else Pill(text="all goals reached", tone="good"),
        "samples": about["samples"],
        "judged": len(found.judged),
        "noise": f"{found.noise:.1%}",
        "outside": sum(e.trust != "inside" for e in found.predictions),
        "tiles": _tiles(found),
        "pictures": [picture for quantity in QUANTITIES for picture in _pictures(found, quantity)],
        "errors": errors_table(found),
        "facts": _facts(about),
    }


def _tiles(found: Evaluation) -> list[Tile]:
    figures = found.figures()
    low, high = COVERAGE_GOAL
    shown = (
        ("memory, mean error", "memory_mape", f"goal: at most {GOALS['memory_mape']:.0%}"),
        ("over 5 % too low", "memory_under_rate", f"goal: at most {GOALS['memory_under_rate']:.0%}"),
        ("time, mean error", "time_mape", f"goal: at most {GOALS['time_mape']:.0%}"),
        ("inside the 90 % interval", "coverage90", f"goal: {low:.0%} to {high:.0%}"),
    )
    return [Tile(name=name, origin=MEASURED, value=f"{figures[key]:.1%}", hint=hint) for name, key, hint in shown]


def _pictures(found: Evaluation, quantity: Quantity) -> tuple[Picture, Picture]:
    return (
        Picture.of(
            scatter(found, quantity, THEMED, key=False), f"predicted against measured {quantity}",
            "each dot is one task; bars are 90 % intervals, the band is 10 % error", marks=scatter_marks(found),
        ),
        Picture.of(
            error_bars(found, quantity, THEMED), f"mean relative error of {quantity} by method",
            "all methods on the same samples; logarithmic axis",
        ),
    )  # fmt: skip


def _facts(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    device = about["device"]
    return [
        *((name, str(value)) for name, value in about["machine"].items()),
        ("matrix product", f"{device['macs_per_s'] / 1e9:.1f} G multiply-accumulates/s"),
        ("memory", f"{device['bytes_per_s'] / 1e9:.1f} GB/s"),
        ("call", f"{device['call_s'] * 1e6:.1f} us"),
    ]
