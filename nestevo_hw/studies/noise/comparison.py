"""Several models or devices side by side, from the results of their benchmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.studies.noise.points import SweepPoint
from nestevo_hw.studies.noise.results import Benchmark, read_benchmark
from nestevo_hw.studies.noise.sweeps import TEACHING, Value


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
            for sweep in (*one.sweeps, *one.taught_sweeps)
            for scene in (("student",) if sweep in TEACHING else one.scenes)
        ]
        return [panel for panel in dict.fromkeys(seen) if seen.count(panel) > 1]

    def lines(self, sweep: str, scene: str) -> dict[str, list[SweepPoint]]:
        """Points of every benchmark that has them."""
        lines = {name: one.of(sweep, scene) for name, one in self.found.items()}
        return {name: points for name, points in lines.items() if points}

    def rows(self) -> dict[tuple[str, Value, str], dict[str, SweepPoint | None]]:
        """By sweep, value and scene: the point of every benchmark, None where it has none."""
        found: dict[tuple[str, Value, str], dict[str, SweepPoint | None]] = {}
        for sweep, scene in self.panels:
            lines = self.lines(sweep, scene)
            for value in values_of(lines):
                found[sweep, value, scene] = {
                    name: next((p for p in lines.get(name, ()) if p.value == value), None) for name in self.found
                }
        return found

    def document(self) -> dict[str, Any]:
        """The machine-readable report."""
        return {
            "metric": self.metric,
            "benchmarks": [
                {"name": name, "model": one.about["model"], "analog": one.about["analog"], "tile": one.about["tile"],
                 "digital": {scene: one.digital_score(scene) for scene in one.scenes}}
                for name, one in self.found.items()
            ],
            "points": [
                {"benchmark": name, **point.document()}
                for row in self.rows().values() for name, point in row.items() if point is not None
            ],
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
    short = [f"{one.about['model']} on {one.about['analog']}" for one in found]
    if len(set(short)) == len(short):
        return short
    folders = [str(path.parent if path.is_file() else path) for path in paths]
    if len(set(folders)) < len(folders):
        raise ConfigError("a benchmark is named twice; name each once")
    return [f"{name} ({folder})" for name, folder in zip(short, folders, strict=True)]
