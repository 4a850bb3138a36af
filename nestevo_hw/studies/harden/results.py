"""What a hardening came to: scores before and after, and how much of what the device takes away was won back."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from nestevo_hw.base.stats import Estimate
from nestevo_hw.studies.noise.bench import Scores
from nestevo_hw.studies.noise.plan import DIGITAL, GIVEN, Trial
from nestevo_hw.studies.noise.points import score_interval, summary
from nestevo_hw.studies.noise.sweeps import Value

HARDENED, NOISE_AWARE = "hardened", "noise-aware"
"""Kinds of training: under the device's own noise, and under weight noise (eq. 18-20)."""
AS_GIVEN = GIVEN
"""Name of the model before any training."""


def training_name(kind: str, number: int) -> str:
    """Name of one training, as of its file."""
    return f"{kind}-{number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Scores of the model as given, and of every training."""

    about: Mapping[str, Any]
    """Model, device, metric and whatever else a reader must know, as JSON values."""
    scores: Mapping[Trial, Scores]
    age_s: float

    @property
    def metric(self) -> str:
        """Name of the headline metric."""
        return str(self.about["metric"])

    @property
    def scenes(self) -> tuple[str, ...]:
        """What was scored: day and night, or all."""
        return tuple(next(iter(self.scores.values())))

    @property
    def kinds(self) -> tuple[str, ...]:
        """Rows of the table: as given, weight noise where it was compared, hardened."""
        there = {trial.training.rpartition("-")[0] for trial in self.scores if trial.training != AS_GIVEN}
        return (AS_GIVEN, *(kind for kind in (NOISE_AWARE, HARDENED) if kind in there))

    @property
    def moments(self) -> tuple[Value, ...]:
        """Columns of the table: digital, and the ages on the crossbar."""
        return (DIGITAL, *dict.fromkeys((0.0, self.age_s)))

    def of(self, kind: str, scene: str, moment: Value) -> list[list[float]]:
        """Headline scores of each training of a kind, on one programming after the other; a single one if digital."""
        found: dict[str, list[float]] = {}
        for trial, scores in self.scores.items():
            mine = trial.training if kind == AS_GIVEN else trial.training.rpartition("-")[0]
            if mine == kind and trial.value == moment:
                found.setdefault(trial.training, []).append(scores[scene][self.metric])
        return list(found.values())

    def score(self, kind: str, scene: str, moment: Value) -> Estimate:
        """Mean over trainings and programmings; the interval is over programmings, or over trainings if digital."""
        by_training = self.of(kind, scene, moment)
        over_trainings = [scores[0] for scores in by_training]
        over_programmings = [fmean(scores) for scores in zip(*by_training, strict=True)]
        values = over_trainings if moment == DIGITAL else over_programmings
        interval = score_interval(self.metric, values) if len(values) > 1 else None
        return Estimate(mean=fmean(values), ci95=interval)

    def gain(self, kind: str, scene: str, moment: Value) -> Estimate:
        """Score minus that of the model as given, paired by programming; over trainings if digital."""
        given = self.of(AS_GIVEN, scene, moment)[0]
        by_training = self.of(kind, scene, moment)
        if moment == DIGITAL:
            return Estimate.of(scores[0] - given[0] for scores in by_training)
        return Estimate.of(
            fmean(scores) - before for scores, before in zip(zip(*by_training, strict=True), given, strict=True)
        )

    def taken(self, scene: str) -> Estimate:
        """What the device takes from the model as given at this age: digital score minus that on each programming."""
        digital = self.of(AS_GIVEN, scene, DIGITAL)[0][0]
        return Estimate.of(digital - score for score in self.of(AS_GIVEN, scene, self.age_s)[0])

    def won_back(self, kind: str, scene: str) -> Estimate:
        """Share of what the device takes at this age that a training gives back; the interval is over trainings.

        (hardened - given on the device) / (given digital - given on the device), each a mean over programmings; not
        defined where the device takes nothing, or no more than programmings differ by.
        """
        taken = self.taken(scene)
        if not (taken.mean if taken.ci95 is None else taken.ci95[0]) > 0.0:
            return Estimate()
        given = fmean(self.of(AS_GIVEN, scene, self.age_s)[0])
        return Estimate.of((fmean(scores) - given) / taken.mean for scores in self.of(kind, scene, self.age_s))

    def document(self) -> dict[str, Any]:
        """The machine-readable report."""
        return {**self.about, "scores": list(self._scores()), "gains": list(self._gains())}

    def _scores(self) -> Iterator[dict[str, Any]]:
        groups: dict[tuple[str, str, Value], list[Scores]] = {}
        for trial, scores in self.scores.items():
            groups.setdefault((trial.training, trial.sweep, trial.value), []).append(scores)
        for (training, sweep, value), found in groups.items():
            for scene in self.scenes:
                yield {
                    "training": training or "as given", "scene": scene,
                    "age_s": None if sweep == DIGITAL else value,
                    **{name: summary(name, [one[scene][name] for one in found]) for name in self.about["metrics"]},
                }  # fmt: skip

    def _gains(self) -> Iterator[dict[str, Any]]:
        for kind in self.kinds[1:]:
            for scene in self.scenes:
                yield {
                    "training": kind, "scene": scene,
                    "digital": self.gain(kind, scene, DIGITAL).document(),
                    "programmed": self.gain(kind, scene, 0.0).document(),
                    "aged": self.gain(kind, scene, self.age_s).document(),
                    "taken": self.taken(scene).document(),
                    "won_back": self.won_back(kind, scene).document(),
                }  # fmt: skip
