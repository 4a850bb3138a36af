"""The learned profile of a machine: rates, the networks that correct them, and calibrated intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nestevo_hw.base.documents import json_line, parse_json, plain
from nestevo_hw.base.errors import InputError
from nestevo_hw.base.tensors import read_tensors, write_tensors
from nestevo_hw.profiler.conformal import Calibration, Seen, Trust, trust
from nestevo_hw.profiler.kernels import Kernels
from nestevo_hw.profiler.rates import DeviceFigures, Rates
from nestevo_hw.profiler.regressor import Regressor
from nestevo_hw.profiler.samples import Sample
from nestevo_hw.profiler.step_features import Array, feature_matrix
from nestevo_hw.profiler.training_step import TrainingStep

FORMAT = "nestevo-hw-profile-2"
FOLDS = 8
INNER_FOLDS = 3
"""Groups of architectures; each is predicted by a model that has seen the others."""
FEWEST_SAMPLES = 16
UNDER, UNDER_RATE = 0.05, 0.01
"""Memory may be predicted more than 5 % too low for one task in a hundred: too little kills a task, too much only
delays one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepPrediction:
    """A step's predicted time and memory, with 90 % intervals."""

    step_s: float
    step_low_s: float
    step_high_s: float
    memory_bytes: float
    """Peak of allocated tensor bytes, on a GPU of all that the process takes of it, with a margin that makes it seldom
    much too low."""
    memory_low_bytes: float
    memory_high_bytes: float
    trust: Trust
    """Inside what was measured, outside and widened, or so far outside that only the analytic part is given, with
    intervals as wide as the novelty."""
    novelty: float
    """Distance from what was measured; above 1 is outside."""


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """Predictions for samples whose architecture was left out, all (N,) or (N, 2) for time and memory."""

    missing: Array
    """log(measured / analytic) of time and memory: what the networks are to predict."""
    corrections: Array
    """What they predict of it."""
    spreads: Array
    """Standard deviation over the members."""


class ProfileModel:
    """Predicts training steps on the machine whose samples it learned.

    Args:
        analytic: time.
        regressor: corrections of time and memory, as logarithms.
        calibration: of the intervals.
        shares: of the networks' corrections of time and memory that are believed.
        memory_margin: added to the logarithm of the memory, so that it is seldom much too low.
        seen: features of the samples.
        about: machine, number of samples and device figures, to keep in the file.
    """

    def __init__(
        self,
        *,
        analytic: "Analytic",
        regressor: Regressor,
        calibration: Calibration,
        seen: Seen,
        about: dict[str, Any],
        memory_margin: float = 0.0,
        shares: tuple[float, ...] = (1.0, 1.0),
    ) -> None:
        self.memory_margin, self.shares = memory_margin, shares
        self.analytic, self.regressor, self.calibration, self.seen, self.about = (
            analytic,
            regressor,
            calibration,
            seen,
            about,
        )

    @classmethod
    def fit(
        cls, samples: Sequence[Sample], *, machine: dict[str, Any], device: DeviceFigures, seed: int = 0
    ) -> "ProfileModel":
        """Learn from samples; their `held_out` is not looked at.

        Raises:
            InputError: fewer than FEWEST_SAMPLES.
        """
        if len(samples) < FEWEST_SAMPLES:
            raise InputError(
                f"need {FEWEST_SAMPLES} samples or more to learn from, got {len(samples)}; go on with --resume"
            )
        left_out = out_of_fold(samples, seed=seed)
        shares = best_shares(left_out)
        log_errors = left_out.missing - np.array(shares) * left_out.corrections
        analytic, regressor = _learn(samples, seed)
        return cls(
            analytic=analytic,
            regressor=regressor,
            calibration=Calibration.fit(log_errors, left_out.spreads),
            memory_margin=memory_margin(log_errors[:, 1]),
            shares=shares,
            seen=Seen(feature_matrix([s.step for s in samples])),
            about={"machine": machine, "samples": len(samples), "device": plain(device)},
        )

    def predict(self, step: TrainingStep) -> StepPrediction:
        """Predict one step."""
        features = feature_matrix([step])
        means, spreads = self.regressor.predict(features)
        novelty = float(self.seen.novelty(features)[0])
        worth = trust(novelty)
        correction = means[0] * np.array(self.shares) if worth != "refused" else np.zeros(2)
        wide = self.calibration.half_widths(spreads)[0] * max(novelty, 1.0)
        time_s = self.analytic.step_s(step) * np.exp(correction[0])
        memory = step.memory_bytes * np.exp(correction[1])
        reserved = memory * np.exp(self.memory_margin)
        return StepPrediction(
            step_s=float(time_s),
            step_low_s=float(time_s * np.exp(-wide[0])),
            step_high_s=float(time_s * np.exp(wide[0])),
            memory_bytes=float(reserved),
            memory_low_bytes=float(memory * np.exp(-wide[1])),
            memory_high_bytes=float(max(reserved, memory * np.exp(wide[1]))),
            trust=worth,
            novelty=novelty,
        )

    def save(self, path: Path) -> None:
        """Write a safetensors file.

        Raises:
            OutputError: the file cannot be written.
        """
        stored = _Stored(
            rates=self.analytic.rates.seconds, calibration=self.calibration, about=self.about,
            memory_margin=self.memory_margin, shares=self.shares,
        )  # fmt: skip
        tensors: dict[str, Tensor] = {**self.regressor.tensors, "seen": torch.from_numpy(self.seen.points)}
        if self.analytic.kernels is not None:
            tensors |= self.analytic.kernels.tensors
        write_tensors(path, tensors, {"format": FORMAT, "profile": json_line(plain(stored))})

    @classmethod
    def load(cls, path: Path) -> "ProfileModel":
        """Read what `save` wrote.

        Raises:
            InputError: the file is missing, damaged or something else.
        """
        header, tensors = read_tensors(path)
        if header.get("format") != FORMAT:
            got = f"expected {FORMAT} (got {header.get('format', 'none')})"
            raise InputError(f"{path} is not a profile, {got}; write one with `nestevo-hw profile --out FOLDER`")
        try:
            seen = Seen(tensors.pop("seen").numpy())
            stored = parse_json(header["profile"], _Stored, str(path), advice="write it anew with `nestevo-hw profile`")
            analytic, regressor = Analytic(Rates(stored.rates), _kernels(tensors)), Regressor(tensors)
        except (KeyError, ValueError) as error:
            raise InputError(f"{path} is damaged ({error}); write it anew with `nestevo-hw profile`") from error
        return cls(
            analytic=analytic, regressor=regressor, calibration=stored.calibration, seen=seen, about=stored.about,
            memory_margin=stored.memory_margin, shares=stored.shares,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """What a profile's file holds beside its tensors."""

    rates: dict[str, float]
    calibration: Calibration
    about: dict[str, Any]
    memory_margin: float
    shares: tuple[float, ...]


def memory_margin(log_errors: Array) -> float:
    """What must be added to predicted log memory so that at most UNDER_RATE of errors (N,) lie beyond UNDER.

    Args:
        log_errors: log(measured / predicted), out of fold.
    """
    worst = float(np.quantile(log_errors, 1 - UNDER_RATE, method="higher"))
    return max(worst + math.log(1 - UNDER), 0.0)


def _kernels(tensors: dict[str, Tensor]) -> Kernels | None:
    """Takes the tensors of `Kernels` out of a file's."""
    names = [name for name in tensors if name.startswith("kernels.")]
    found = {name.removeprefix("kernels."): tensors.pop(name) for name in names}
    return Kernels(Regressor(found)) if found else None


def architecture_folds(samples: Sequence[Sample], folds: int = FOLDS) -> list[tuple[list[int], list[int]]]:
    """Rows to learn from and to judge by, so that no architecture is on both sides; sizes as equal as can be."""
    rows: dict[str, list[int]] = {}
    for row, sample in enumerate(samples):
        rows.setdefault(sample.spec.architecture, []).append(row)
    parts: list[list[int]] = [[] for _ in range(min(folds, len(rows)))]
    for group in sorted(rows.values(), key=len, reverse=True):
        min(parts, key=len).extend(group)
    return [(sorted(set(range(len(samples))) - set(part)), sorted(part)) for part in parts]


def out_of_fold(samples: Sequence[Sample], *, seed: int = 0, folds: int = FOLDS) -> OutOfFold:
    """Predict every sample by a model that has not seen its architecture."""
    missing, corrections, spreads = (np.zeros((len(samples), 2)) for _ in range(3))
    for known, left in architecture_folds(samples, folds):
        analytic, regressor = _learn([samples[i] for i in known], seed)
        judged = [samples[i] for i in left]
        corrections[left], spreads[left] = regressor.predict(feature_matrix([s.step for s in judged]))
        missing[left] = _corrections(judged, [analytic.step_s(s.step) for s in judged])
    return OutOfFold(missing, corrections, spreads)


def best_shares(left_out: OutOfFold) -> tuple[float, ...]:
    """How much of the networks' correction to believe, for time and memory: the share with the least mean error."""
    shares = np.linspace(0.0, 1.0, 21)
    errors = np.abs(left_out.missing - shares[:, None, None] * left_out.corrections).mean(1)
    return tuple(shares[errors.argmin(0)].tolist())


class Analytic:
    """Analytic time of a step: its convolutions and products one by one, all else by rates.

    Args:
        rates: seconds for each unit of work.
        kernels: times of convolutions and products; without them they go by rates, too.
    """

    def __init__(self, rates: Rates, kernels: Kernels | None) -> None:
        self.rates, self.kernels = rates, kernels

    @classmethod
    def fit(cls, samples: Sequence[Sample], *, seed: int = 0) -> "Analytic":
        """From samples whose steps, and whose single operations, were timed."""
        timed = [(o, count, units * s.reference_s) for s in samples for o, count, units in s.computing]
        kernels = Kernels.fit(timed, seed=seed)
        steps, times = [s.step for s in samples], np.array([s.step_s for s in samples])
        computing = None if kernels is None else [kernels.seconds(s.work.operations) for s in steps]
        return cls(Rates.fit(steps, times, computing), kernels)

    def step_s(self, step: TrainingStep) -> float:
        """Seconds of a step."""
        computing = None if self.kernels is None else self.kernels.seconds(step.work.operations)
        return self.rates.step_s(step, computing)


def _learn(samples: Sequence[Sample], seed: int) -> tuple[Analytic, Regressor]:
    """Analytic time from all samples, and the networks that correct it.

    The networks learn how an analytic time that was fitted to *other* architectures misses a sample, because that is
    what they will have to correct.
    """
    analytic_s = np.zeros(len(samples))
    for known, left in architecture_folds(samples, INNER_FOLDS):
        fitted = Analytic.fit([samples[i] for i in known or left], seed=seed)
        analytic_s[left] = [fitted.step_s(samples[i].step) for i in left]
    corrections = _corrections(samples, analytic_s.tolist())
    features = feature_matrix([s.step for s in samples])
    return Analytic.fit(samples, seed=seed), Regressor.fit(features, corrections, seed=seed)


def _corrections(samples: Sequence[Sample], analytic_s: Sequence[float]) -> Array:
    """log(measured / analytic) of time and memory, (N, 2)."""
    pairs = zip(samples, analytic_s, strict=True)
    found: Array = np.log([[s.step_s / a, s.memory_bytes / s.step.memory_bytes] for s, a in pairs])
    return found
