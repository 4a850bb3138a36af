"""How far a terminal's frames have moved away from the training data (paper eq. 11-13)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.ranges import NOT_NEGATIVE, Range
from nestevo_hw.base.tensors import read_tensors, write_tensors

MOST_SAMPLES = 8
"""Objects of a class from which on their mean says enough of it."""
PAPERS_GAMMA = 50.0
"""Threshold of eq. 12 in the paper."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftConfig:
    """When evolution includes the teacher (eq. 11-13)."""

    decision: Literal["paper", "benefit"] = "paper"
    """paper: enough terminals have drifted (eq. 12, 13). benefit: the teacher adapts where it has become less sure than
    `sure_share`, and no new one is programmed, whatever `teacher.update` says (docs/regime.md); for classification."""
    sure_share: Annotated[float, Range(0, 10)] = 0.75
    """Under benefit: labels a frame that the teacher is sure of, of those on in-domain frames; below, it adapts."""

    gamma: Annotated[float, NOT_NEGATIVE] | None = None
    """Threshold of eq. 12; without it, calibrated on in-domain segments, or the paper's 50 where the teacher finds
    nothing in them."""
    false_alarm_rate: Annotated[float, Range(0, 1, above=True)] = 0.1
    """Share of in-domain segments that may exceed the calibrated threshold."""
    epsilon: Annotated[int, Range(1, 1000)] | None = None
    """Drifted terminals from which on the teacher evolves too; default: more than half."""
    min_samples: Annotated[int, Range(1, 1_000_000)] | None = None
    """A class with fewer objects on either side is left out of eq. 11. Without it 8, or as few as the teacher finds in
    enough in-domain segments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMoments:
    """Count, mean and variance of the teacher's features for one class."""

    count: int
    mean: Tensor
    """(D,)"""
    variance: Tensor
    """(D,), population variance."""

    @classmethod
    def of(cls, features: Tensor) -> "FeatureMoments":
        """Moments of (N, D) features."""
        return cls(count=len(features), mean=features.mean(0), variance=features.var(0, correction=0))

    def union(self, other: "FeatureMoments") -> "FeatureMoments":
        """Moments of both sets of features together."""
        count = self.count + other.count
        share = other.count / count
        within = (1 - share) * self.variance + share * other.variance
        between = share * (1 - share) * (other.mean - self.mean) ** 2
        return FeatureMoments(count=count, mean=self.mean + share * (other.mean - self.mean), variance=within + between)


_ROUNDING = 1e-9
"""What a product that is a whole number may lie above it."""
BLIND_SHARE = 0.25
"""Share of the objects to expect below which a teacher that cannot compare a single class counts as blind. Where 8 are
to be expected, chance alone leaves at most one in 0.3 % of all cases (Poisson)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftScore:
    """Drift of one terminal."""

    score: float
    """delta_i of eq. 11; NaN where no class could be compared."""
    left_out: tuple[int, ...]
    """Classes with too few samples on either side to compare."""


def moments_by_class(features: Tensor, labels: Tensor) -> dict[int, FeatureMoments]:
    """Moments of (N, D) features for each class of (N,) labels that occurs."""
    return {int(c): FeatureMoments.of(features[labels == c]) for c in labels.unique()}


def drift_score(
    training: Mapping[int, FeatureMoments],
    live: Mapping[int, FeatureMoments],
    classes: Sequence[int],
    *,
    min_samples: int,
) -> DriftScore:
    """delta_i: distance of class-wise mean features from the training data, in standard deviations (eq. 11).

    Classes left out count as the mean of the others: a teacher that drift has blinded to a class must not look safer.
    Feature dimensions that never vary (a dead ReLU) carry no information and are left out, so that zero
    variance never divides.

    Args:
        training: moments of each class in the teacher's training data.
        live: moments of each class in the terminal's uploaded frames, by the teacher's labels.
        classes: classes the terminal recognises.
        min_samples: classes with fewer samples on either side are left out, and said so.
    """
    total, left_out = 0.0, []
    for c in classes:
        if min(_count(training, c), _count(live, c)) < min_samples:
            left_out.append(c)
            continue
        deviation = training[c].union(live[c]).variance.sqrt()
        varies = deviation > 1e-6
        total += float(torch.linalg.vector_norm((training[c].mean - live[c].mean)[varies] / deviation[varies]))
    compared = len(classes) - len(left_out)
    return DriftScore(score=total * len(classes) / compared if compared else math.nan, left_out=tuple(left_out))


def sees_too_little(objects: int, frames: int, *, familiar_rate: float, min_samples: int) -> bool:
    """Whether a teacher detects so much less than it does on in-domain frames that drift must have blinded it.

    Args:
        objects: that it detected.
        frames: on which.
        familiar_rate: objects that it detects on an in-domain frame.
        min_samples: objects to expect before their absence says anything.
    """
    expected = familiar_rate * frames
    return expected >= min_samples and objects < BLIND_SHARE * expected


def _count(moments: Mapping[int, FeatureMoments], c: int) -> int:
    return moments[c].count if c in moments else 0


def segments_needed(false_alarm_rate: float) -> int:
    """In-domain segments from which on `calibrated_threshold` can keep a rate."""
    return max(1, math.ceil(1 / false_alarm_rate) - 1)


def calibrated_threshold(in_domain_scores: Sequence[float], false_alarm_rate: float) -> float:
    """Threshold gamma such that in-domain data exceeds it at most at the stated rate.

    The (1 - rate) quantile of scores of in-domain segments, by the conformal rule: the k-th smallest of n scores with
    k = ceil((n + 1) (1 - rate)). The rate is only kept as far as the segments are like new
    ones: those of `evolve` are part of the data that they are compared with, so that they lie a little nearer.

    Raises:
        ConfigError: too few segments to support the rate.
    """
    n = len(in_domain_scores)
    k = max(1, math.ceil((n + 1) * (1 - false_alarm_rate) - _ROUNDING))
    if k > n:
        raise ConfigError(
            f"drift.false_alarm_rate = {false_alarm_rate:g} needs at least {segments_needed(false_alarm_rate)} "
            f"in-domain segments, got {n}; raise reference.segments_per_place, name more reference.places, raise "
            "start_frame of videos or give drift.gamma"
        )
    return sorted(in_domain_scores)[k - 1]


def save_moments(moments: Mapping[int, FeatureMoments], path: Path) -> None:
    """Write moments of each class to one safetensors file."""
    tensors: dict[str, Tensor] = {}
    for c, one in moments.items():
        tensors[f"{c}.count"] = torch.tensor(one.count)
        tensors[f"{c}.mean"] = one.mean
        tensors[f"{c}.variance"] = one.variance
    write_tensors(path, tensors)


def load_moments(path: Path) -> dict[int, FeatureMoments]:
    """Read what `save_moments` wrote."""
    _, tensors = read_tensors(path)
    return {
        c: FeatureMoments(
            count=int(tensors[f"{c}.count"]), mean=tensors[f"{c}.mean"], variance=tensors[f"{c}.variance"]
        )
        for c in sorted({int(name.split(".")[0]) for name in tensors})
    }
