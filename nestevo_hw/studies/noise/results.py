"""The outcome of a benchmark: its points and what to compare them with, to JSON and back."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from nestevo_hw.base.documents import parse, read_json
from nestevo_hw.base.errors import InputError
from nestevo_hw.studies.noise.bench import Scores
from nestevo_hw.studies.noise.journal import RESULTS
from nestevo_hw.studies.noise.plan import AWARE, DIGITAL, GIVEN, UNSWEPT, Trial
from nestevo_hw.studies.noise.points import SweepPoint
from nestevo_hw.studies.noise.students import REFERENCE
from nestevo_hw.studies.noise.sweeps import SWEEPS, TEACHING, Value

_ASIDE = (DIGITAL, UNSWEPT, REFERENCE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """Outcome of a benchmark."""

    about: Mapping[str, Any]
    """Model, device, metric and whatever else a reader must know, as JSON values."""
    points: tuple[SweepPoint, ...]
    digital: tuple[SweepPoint, ...]
    """Without any noise; one score each."""
    unswept: tuple[SweepPoint, ...]
    """On the device as it is, at the age of the benchmark; empty where no sweep uses the device."""
    students: tuple[SweepPoint, ...]
    """Students to compare with, by value: before, digital teacher, true labels."""

    @classmethod
    def of_trials(cls, about: Mapping[str, Any], trials: Mapping[Trial, Scores]) -> "Benchmark":
        """From the scores of all trials; a value's repeats must be in order."""
        groups: dict[tuple[str, Value, str], list[Scores]] = {}
        for trial, scores in trials.items():
            groups.setdefault((trial.sweep, trial.value, trial.training), []).append(scores)
        order = (*_ASIDE, *SWEEPS)
        points = [
            SweepPoint(
                sweep=sweep, value=value, training=training, scene=scene,
                scores={metric: tuple(s[scene][metric] for s in scores) for metric in scores[0][scene]},
            )
            for (sweep, value, training), scores in sorted(groups.items(), key=lambda item: order.index(item[0][0]))
            for scene in scores[0]
        ]  # fmt: skip
        aside = {name: tuple(p for p in points if p.sweep == name) for name in _ASIDE}
        return cls(
            about=about, points=tuple(p for p in points if p.sweep not in _ASIDE), digital=aside[DIGITAL],
            unswept=aside[UNSWEPT], students=aside[REFERENCE],
        )  # fmt: skip

    @property
    def metric(self) -> str:
        """Name of the headline metric."""
        return str(self.about["metric"])

    @property
    def scenes(self) -> tuple[str, ...]:
        """What was scored: day and night, or all."""
        return tuple(dict.fromkeys(p.scene for p in self.digital))

    @property
    def main_training(self) -> str:
        """The model as it was given, which a pair calls plain."""
        return next(p.training for p in self.digital)

    @property
    def sweeps(self) -> tuple[str, ...]:
        """Names of all sweeps without students."""
        return tuple(dict.fromkeys(p.sweep for p in self.points if p.sweep not in TEACHING))

    @property
    def taught_sweeps(self) -> tuple[str, ...]:
        """Names of the sweeps that teach students."""
        return tuple(dict.fromkeys(p.sweep for p in self.points if p.sweep in TEACHING))

    @property
    def on_device(self) -> bool:
        """Whether anything was scored on the device, not only under weight noise."""
        return bool(self.unswept) or "student_time_s" in self.taught_sweeps

    @property
    def paired(self) -> tuple[str, ...]:
        """Sweeps in which a noise-aware model is compared with a plain one."""
        return tuple(dict.fromkeys(p.sweep for p in self.points if p.training == AWARE))

    def of(self, sweep: str, scene: str, training: str | None = None) -> list[SweepPoint]:
        """Points of one line, in the order of the values; of the main training unless another is given."""
        if training is None:
            training = GIVEN if sweep in TEACHING else self.main_training
        return [p for p in self.points if (p.sweep, p.scene, p.training) == (sweep, scene, training)]

    def digital_score(self, scene: str, training: str | None = None) -> float:
        """Headline score without any noise."""
        wanted = self.main_training if training is None else training
        return next(p.mean for p in self.digital if (p.scene, p.training) == (scene, wanted))

    @property
    def age_s(self) -> float:
        """Time after programming at which every property but time was swept, seconds."""
        return float(self.about.get("age_s", 0.0))

    def unswept_in(self, scene: str, training: str | None = None) -> SweepPoint | None:
        """The device as it is, at the age of the benchmark."""
        wanted = self.main_training if training is None else training
        return next((p for p in self.unswept if (p.scene, p.training) == (scene, wanted)), None)

    def student(self, name: str) -> SweepPoint | None:
        """A student to compare with."""
        return next((p for p in self.students if p.value == name and p.scene == "student"), None)

    def document(self) -> dict[str, Any]:
        """The machine-readable report."""
        return {
            **self.about,
            "points": [point.document() for point in self.points],
            "digital": [{"name": point.value, **point.scored()} for point in self.digital],
            "unswept": [{"name": point.value, **point.scored()} for point in self.unswept],
            "students": [{"name": point.value, **point.scored()} for point in self.students],
        }


def read_benchmark(path: Path) -> Benchmark:
    """The benchmark in a folder, or in a results.json.

    Raises:
        InputError: there is none, or it is damaged or of an older version.
    """
    file = path / RESULTS if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"no {RESULTS} in {path}; finish the benchmark first, with --resume if it was interrupted")
    advice = "run bench-noise again"
    document = read_json(file, dict[str, Any], advice=advice)
    stored = parse(document, _Stored, str(file), advice=advice)
    return Benchmark(
        about={key: value for key, value in document.items() if key not in {f.name for f in fields(_Stored)}},
        points=tuple(_point(entry, entry.sweep, entry.value) for entry in stored.points),
        digital=tuple(_point(entry, DIGITAL, entry.name) for entry in stored.digital),
        unswept=tuple(_point(entry, UNSWEPT, entry.name) for entry in stored.unswept),
        students=tuple(_point(entry, REFERENCE, entry.name) for entry in stored.students),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scores:
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scored:
    scene: str
    training: str
    metrics: dict[str, _Scores]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Swept(_Scored):
    sweep: str
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Named(_Scored):
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """The lists of a results.json; what else is in it is about the benchmark."""

    points: list[_Swept]
    digital: list[_Named]
    unswept: list[_Named]
    students: list[_Named]


def _point(entry: _Scored, sweep: str, value: Value) -> SweepPoint:
    scores = {metric: found.scores for metric, found in entry.metrics.items()}
    return SweepPoint(sweep=sweep, value=value, scene=entry.scene, training=entry.training, scores=scores)
