"""Files of several benchmarks side by side: table, picture, page and machine-readable report."""

import csv
import io
from pathlib import Path

from matplotlib.axes import Axes

from nestevo_hw.base.documents import json_line, write_json
from nestevo_hw.base.files import write_text
from nestevo_hw.pages.formats import DASH, duration, score
from nestevo_hw.pages.shell import render
from nestevo_hw.pages.style import LIGHT, LINES, THEMED, Mark, Palette, colour_of, save_png
from nestevo_hw.pages.tables import Table
from nestevo_hw.studies.noise.comparison import TOLD, Comparison, values_of
from nestevo_hw.studies.noise.page import drawn, interval_text
from nestevo_hw.studies.noise.plots import Draw, ceiling, draw_line, finish, together
from nestevo_hw.studies.noise.points import SweepPoint
from nestevo_hw.studies.noise.sweeps import SWEEPS

_COLOURS = ("before", "after", "teacher", "mutual", "aggregate", "generator", "alarm", "export")
"""Of the benchmarks, in turn."""


def write_comparison(comparison: Comparison, folder: Path) -> list[str]:
    """Write all files; returns their names."""
    title, panels = "Noise benchmarks side by side (simulated)", list(_panels(comparison, LIGHT).values())
    write_text(folder / "comparison.csv", csv_text(comparison))
    save_png(together(panels, comparison.metric, _marks(comparison), LIGHT, title=title), folder / "comparison.png")
    write_text(folder / "comparison.html", page_text(comparison))
    write_json(folder / "comparison.json", comparison.document())
    return ["comparison.csv", "comparison.png", "comparison.html", "comparison.json"]


def page_text(comparison: Comparison) -> str:
    """The HTML of a comparison."""
    values = {
        "metric": comparison.metric,
        "marks": _marks(comparison),
        "panels": drawn(_panels(comparison, THEMED), comparison.metric),
        "figures": comparison_table(comparison),
        "differences": difference_lines(comparison),
    }
    return render("noise_comparison.html", values)


def difference_lines(comparison: Comparison) -> list[str]:
    """What else the benchmarks differ in, for people to read."""
    return [
        f"not the same {TOLD[key]}: {', '.join(f'{_told(key, value)} ({name})' for name, value in values.items())}"
        for key, values in comparison.differences.items()
    ]


def _told(key: str, value: object) -> str:
    return duration(value) if key == "age_s" else json_line(value)


def comparison_table(comparison: Comparison) -> Table:
    """One row a value of a sweep and scene, one column a benchmark."""
    rows = [
        (sweep, SWEEPS[sweep].text(value), scene, *(_point_text(point) for point in points.values()))
        for (sweep, value, scene), points in comparison.rows().items()
    ]
    heads = ("sweep", "value", "on", *comparison.found)
    return Table(heads=heads, rows=rows, title=f"{comparison.metric} (simulated)")


def _point_text(point: SweepPoint | None) -> str:
    return DASH if point is None else f"{score(point.mean)} ({interval_text(point)})"


def _marks(comparison: Comparison) -> list[Mark]:
    return [
        Mark(text=name, colour=_COLOURS[i % len(_COLOURS)], shape="line") for i, name in enumerate(comparison.found)
    ]


def _panels(comparison: Comparison, palette: Palette) -> dict[str, Draw]:
    """One panel a sweep and scene, one line a benchmark."""
    return {
        f"{SWEEPS[sweep].title}, {scene}": _panel(comparison, sweep, scene, palette)
        for sweep, scene in comparison.panels
    }


def _panel(comparison: Comparison, sweep: str, scene: str, palette: Palette) -> Draw:
    lines = comparison.lines(sweep, scene)
    values = values_of(lines)

    def draw(axes: Axes) -> None:
        for mark, (name, one) in zip(_marks(comparison), comparison.found.items(), strict=True):
            colour = colour_of(palette, mark.colour)
            if name in lines:
                draw_line(axes, sweep, lines[name], colour, values)
            if scene in one.scenes:
                axes.axhline(one.digital_score(scene), color=colour, ls=LINES["dashed"], lw=1.0, alpha=0.7, zorder=2)
        top = max(ceiling(one) for one in comparison.found.values())
        finish(axes, sweep, values, palette, top=top, scene=scene)

    return draw


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
