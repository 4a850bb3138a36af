"""Files of a comparison: table, picture, page and machine-readable report."""

import csv
import io
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nestevo_hw.base.documents import write_json
from nestevo_hw.base.files import write_text
from nestevo_hw.pages.markup import SIMULATED, card, cards, heading, legend, note, pill, table
from nestevo_hw.pages.style import LIGHT, SMALL, THEMED, Palette, inline_svg, new_figure, save_png
from nestevo_hw.report.wording import DASH
from nestevo_hw.studies.noise.comparison import Comparison, values_of
from nestevo_hw.studies.noise.page import interval_text, whole_page
from nestevo_hw.studies.noise.plots import PANEL_IN, ceiling, draw_line, finish, grid, head, line, metric_text
from nestevo_hw.studies.noise.sweeps import SWEEPS

ROLES = ("before", "after", "teacher", "mutual", "aggregate", "generator", "alarm", "export")
"""Colours of the benchmarks, in turn."""


def write_comparison(comparison: Comparison, folder: Path) -> list[str]:
    """Write all files; returns their names."""
    write_text(folder / "comparison.csv", csv_text(comparison))
    save_png(draw_comparison(comparison, LIGHT), folder / "comparison.png")
    write_text(folder / "comparison.html", page_text(comparison))
    write_json(folder / "comparison.json", comparison.document())
    return ["comparison.csv", "comparison.png", "comparison.html", "comparison.json"]


def draw_comparison(comparison: Comparison, palette: Palette) -> Figure:
    """One panel a sweep and scene, one line a benchmark."""

    def panel(sweep: str, scene: str, axes: Axes) -> None:
        _draw_panel(axes, comparison, sweep, scene, palette)

    panels = [lambda axes, s=sweep, c=scene: panel(s, c, axes) for sweep, scene in comparison.panels]
    figure = grid(panels, palette)
    figure.axes[0].set_ylabel(metric_text(comparison.metric))
    handles = [line(getattr(palette, _role(number)), name) for number, name in enumerate(comparison.found)]
    head(figure, handles, palette, "Noise benchmarks side by side (simulated)")
    return figure


def _draw_panel(axes: Axes, comparison: Comparison, sweep: str, scene: str, palette: Palette) -> None:
    lines = comparison.lines(sweep, scene)
    values = values_of(lines)
    for number, (name, one) in enumerate(comparison.found.items()):
        colour = getattr(palette, _role(number))
        if name in lines:
            draw_line(axes, sweep, lines[name], colour, values)
        if scene in one.scenes:
            axes.axhline(one.digital_score(scene), color=colour, ls=(0, (4, 2)), lw=1.0, alpha=0.7, zorder=2)
    finish(axes, sweep, values, palette, top=max(ceiling(one) for one in comparison.found.values()))
    if scene != "all":
        axes.set_title(scene, loc="left", size=SMALL + 1, color=palette.ink)


def _role(number: int) -> str:
    return ROLES[number % len(ROLES)]


def page_text(comparison: Comparison) -> str:
    """The HTML of a comparison."""
    names = tuple(comparison.found)
    figures = []
    for sweep, scene in comparison.panels:
        figure = new_figure(*PANEL_IN, THEMED)
        axes = figure.subplots()
        _draw_panel(axes, comparison, sweep, scene, THEMED)
        axes.set_ylabel(metric_text(comparison.metric))
        title = f"{SWEEPS[sweep].title}, {scene}"
        figures.append(card(inline_svg(figure, f"{title}: {', '.join(names)}"), title))
    rows = [
        (sweep, SWEEPS[sweep].text(value), scene, *(
            DASH if point is None else f"{point.mean:.3f} ({interval_text(point)})" for point in found.values()
        ))
        for (sweep, value, scene), found in comparison.rows().items()
    ]  # fmt: skip
    parts = (
        f'<p class="eyebrow"><b>NestEvo-HW</b> <span>noise benchmarks</span> {pill("simulated devices", "wait")}</p>'
        "<h1>Side by side</h1>",
        note(f"{metric_text(comparison.metric)}; band or bar: 95 % interval; dashed: each digital model."),
        legend([("line", _role(number), name) for number, name in enumerate(names)]),
        cards(figures),
        heading("All figures", SIMULATED),
        card(table(("sweep", "value", "on", *names), rows)),
        "<footer>Written by <code>nestevo-hw bench-noise --compare</code>.</footer>",
    )
    return whole_page("Noise benchmarks · NestEvo-HW", parts)


def csv_text(comparison: Comparison) -> str:
    """One row a value, one column a benchmark and figure."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    columns = [f"{name}: {part}" for name in comparison.found for part in ("mean", "ci95_low", "ci95_high")]
    rows.writerow(("sweep", "value", "unit", "variant", *columns))
    for (sweep, value, scene), found in comparison.rows().items():
        numbers = [
            "" if point is None else f"{number:.6g}"
            for point in found.values()
            for number in ((0.0, 0.0, 0.0) if point is None else (point.mean, *point.ci95))
        ]
        rows.writerow((sweep, value if isinstance(value, str) else f"{value:g}", SWEEPS[sweep].unit, scene, *numbers))
    return text.getvalue()
