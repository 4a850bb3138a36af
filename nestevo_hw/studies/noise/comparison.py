"""Several models or devices side by side, from the results of their benchmarks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nestevo_hw.base.documents import json_line
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.studies.noise.points import SweepPoint
from nestevo_hw.studies.noise.results import Benchmark, read_benchmark
from nestevo_hw.studies.noise.sweeps import TEACHING, Value

TOLD = {
    "seed": "seed", "age_s": "age after programming", "adc_range": "range of the ADC",
    "perfect_io": "perfect converters", "tile": "tile", "keep_digital": "layers kept digital",
}  # fmt: skip
"""What benchmarks that are compared may differ in, beside model and device, by its name in results.json: in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Benchmarks of one metric, by name."""

    found: Mapping[str, Benchmark]

    @property
    def metric(self) -> str:
        """Headline metric of all."""
        return next(iter(self.found.values())).metric

    @property
    def differences(self) -> dict[str, dict[str, Any]]:
        """What of TOLD the benchmarks do not have in common: the value of each."""
        told = {key: {name: one.about.get(key) for name, one in self.found.items()} for key in TOLD}
        return {key: values for key, values in told.items() if len(set(map(json_line, values.values()))) > 1}

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
            "differences": self.differences,
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
        ConfigError: fewer than two, different metrics, data or numbers of frames, or no sweep in common.
        InputError: one cannot be read.
    """
    if len(paths) < 2:
        raise ConfigError(f"--compare needs two benchmarks or more, got {len(paths)}")
    found = [read_benchmark(path) for path in paths]
    for path, one in zip(paths, found, strict=True):
        for mine, first in zip(_scoring(one), _scoring(found[0]), strict=True):
            if mine != first:
                both = f"{path} is scored {mine} but {paths[0]} {first}"
                raise ConfigError(f"{both}; these cannot be compared, so run one of them again")
    comparison = Comparison(found=dict(zip(_names(paths, found), found, strict=True)))
    if not comparison.panels:
        raise ConfigError("these benchmarks have no sweep in common; run the same --sweep on each")
    return comparison


def values_of(lines: Mapping[str, Sequence[SweepPoint]]) -> list[Value]:
    """Values of all lines, in order; names in the order of their first appearance."""
    values = list(dict.fromkeys(p.value for points in lines.values() for p in points))
    return values if any(isinstance(v, str) for v in values) else sorted(values)


def _scoring(one: Benchmark) -> tuple[str, ...]:
    """How a benchmark is scored, in words: all in which those that are compared must agree."""
    data = one.about.get("data")
    return (
        f"by {one.metric}",
        "without --data" if data is None else f"on {Path(data).resolve()}",
        f"on {one.about.get('frames')} frames",
    )


def _names(paths: Sequence[Path], found: Sequence[Benchmark]) -> list[str]:
    """Model and device where these tell the benchmarks apart, else with their folders."""
    short = [f"{one.about['model']} on {one.about['analog']}" for one in found]
    if len(set(short)) == len(short):
        return short
    folders = [str(path.parent if path.is_file() else path) for path in paths]
    if len(set(folders)) < len(folders):
        raise ConfigError("a benchmark is named twice; name each once")
    return [f"{name} ({folder})" for name, folder in zip(short, folders, strict=True)]
