"""Several models or devices side by side, from the results of their benchmarks."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from nestevo_hw.errors import ConfigError
from nestevo_hw.files import write_json, write_text
from nestevo_hw.report.markup import SIMULATED, card, cards, heading, legend, note, pill, table
from nestevo_hw.report.style import LIGHT, THEMED, Palette, inline_svg, new_figure, save_png
from nestevo_hw.report.wording import DASH
from nestevo_hw.robustness.page import whole_page
from nestevo_hw.robustness.plots import (
    PANEL_IN,
    ceiling,
    draw_line,
    finish,
    grid,
    head,
    line,
    metric_text,
)
from nestevo_hw.robustness.points import SweepPoint
from nestevo_hw.robustness.results import Benchmark, read_benchmark
from nestevo_hw.robustness.sweeps import SWEEPS, TEACHING, Value

_ROLES = ("before", "after", "teacher", "mutual", "aggregate", "generator", "alarm", "export")
FILES = ("comparison.csv", "comparison.png", "comparison.html", "comparison.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Benchmarks of one metric, by name."""

    found: Mapping[str, Benchmark]

    @property
    def metric(self) -> str:
        """Headline metric of all."""
        return next(iter(self.found.values())).metric

    @property
    def panels(self) -> list[tuple[str, str]]:
        """Sweep and scene of every panel that at least two benchmarks have."""
        seen = [
            (sweep, scene)
            for one in self.found.values()
            for sweep in (*one.sweeps, *one.lessons)
            for scene in (("student",) if sweep in TEACHING else one.scenes)
        ]
        return [panel for panel in dict.fromkeys(seen) if seen.count(panel) > 1]

    def lines(self, sweep: str, scene: str) -> dict[str, list[SweepPoint]]:
        """Points of every benchmark that has them."""
        lines = {name: one.of(sweep, scene) for name, one in self.found.items()}
        return {name: points for name, points in lines.items() if points}

    def rows(self) -> list[tuple[str, Value, str, str, SweepPoint | None]]:
        """Sweep, value, scene, benchmark and its point, for every value that at least one benchmark has."""
        rows: list[tuple[str, Value, str, str, SweepPoint | None]] = []
        for sweep, scene in self.panels:
            lines = self.lines(sweep, scene)
            for value in values_of(lines):
                for name, points in lines.items():
                    rows.append((sweep, value, scene, name, next((p for p in points if p.value == value), None)))
        return rows

    def document(self) -> dict[str, Any]:
        """The machine-readable report."""
        return {
            "metric": self.metric,
            "benchmarks": [
                {"name": name, "model": one.about["model"], "device": one.about["device"], "tile": one.about["tile"],
                 "digital": {scene: one.digital_score(scene) for scene in one.scenes}}
                for name, one in self.found.items()
            ],
            "points": [{"benchmark": name, **p.document()} for _, _, _, name, p in self.rows() if p is not None],
        }  # fmt: skip


def compare_benchmarks(paths: Sequence[Path]) -> Comparison:
    """Read benchmarks that can stand side by side.

    Args:
        paths: folders of benchmarks, or their results.json.

    Raises:
        ConfigError: fewer than two, different metrics, or no sweep in common.
        InputError: one cannot be read.
    """
    if len(paths) < 2:
        raise ConfigError(f"--compare needs two benchmarks or more, got {len(paths)}")
    found = [read_benchmark(path) for path in paths]
    for path, one in zip(paths, found, strict=True):
        if one.metric != found[0].metric:
            raise ConfigError(
                f"{path} is scored by {one.metric} but {paths[0]} by {found[0].metric}; these cannot be compared"
            )
    comparison = Comparison(found=dict(zip(_names(paths, found), found, strict=True)))
    if not comparison.panels:
        raise ConfigError("these benchmarks have no sweep in common; run the same --sweep on each")
    return comparison


def values_of(lines: Mapping[str, Sequence[SweepPoint]]) -> list[Value]:
    """Values of all lines, in order; names in the order of their first appearance."""
    values = list(dict.fromkeys(p.value for points in lines.values() for p in points))
    return values if any(isinstance(v, str) for v in values) else sorted(values)


def _names(paths: Sequence[Path], found: Sequence[Benchmark]) -> list[str]:
    """Model and device where these tell the benchmarks apart, else with their folders."""
    short = [f"{one.about['model']} on {one.about['device']}" for one in found]
    if len(set(short)) == len(short):
        return short
    folders = [str(path.parent if path.is_file() else path) for path in paths]
    if len(set(folders)) < len(folders):
        raise ConfigError("a benchmark is named twice; name each once")
    return [f"{name} ({folder})" for name, folder in zip(short, folders, strict=True)]


def write_comparison(comparison: Comparison, folder: Path) -> list[str]:
    """Write the table, the picture, the page and the machine-readable report; returns the files' names."""
    write_text(folder / "comparison.csv", _csv(comparison))
    save_png(draw_comparison(comparison, LIGHT), folder / "comparison.png")
    write_text(folder / "comparison.html", page_text(comparison))
    write_json(folder / "comparison.json", comparison.document())
    return list(FILES)


def draw_comparison(comparison: Comparison, palette: Palette) -> Figure:
    """One panel a sweep and scene, one line a benchmark."""

    def panel(sweep: str, scene: str) -> Any:  # noqa: ANN401
        return lambda axes: _draw_panel(axes, comparison, sweep, scene, palette)

    figure = grid([panel(*each) for each in comparison.panels], palette)
    figure.axes[0].set_ylabel(metric_text(comparison.metric))
    handles = [line(_colour(palette, number), name) for number, name in enumerate(comparison.found)]
    head(figure, handles, palette, "Noise benchmarks side by side (simulated)")
    return figure
