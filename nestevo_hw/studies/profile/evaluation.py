"""Judges the learned profile and its rivals on the same samples of architectures that none of them has seen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nestevo_hw.base.documents import NOT_STORED, plain
from nestevo_hw.profiler.memory import paper_memory_bytes
from nestevo_hw.profiler.model import UNDER, UNDER_RATE, ProfileModel, StepPrediction
from nestevo_hw.profiler.rates import DeviceFigures, Rates, nominal_step_s
from nestevo_hw.profiler.samples import Sample
from nestevo_hw.profiler.step_features import Array, feature_matrix

Quantity = Literal["time", "memory"]
THREE_LAYERS = "three-layer"
GOALS = {"memory_mape": 0.05, "memory_under_rate": UNDER_RATE, "time_mape": 0.07}
COVERAGE_GOAL = (0.85, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How well one method predicts one quantity."""

    method: str
    quantity: Quantity
    mape: float
    """Mean of |predicted / measured - 1|."""
    median: float
    p90: float
    """Nine in ten errors are smaller."""
    under_rate: float
    """Share of predictions below the truth by more than UNDER."""
    predicted: tuple[float, ...] = field(metadata=NOT_STORED)
    """Seconds of a step or bytes, in the order of the samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """All methods on the samples they were not trained on."""

    judged: tuple[Sample, ...]
    predictions: tuple[StepPrediction, ...]
    """Of the learned profile."""
    scores: tuple[Score, ...]
    coverage_time: float
    """Share of true times inside their 90 % interval."""
    coverage_memory: float
    noise: float
    """Mean relative distance of single timed runs from their median."""

    def score(self, method: str, quantity: Quantity) -> Score:
        """Of one method."""
        return next(s for s in self.scores if (s.method, s.quantity) == (method, quantity))

    def figures(self) -> dict[str, float]:
        """The learned profile's main figures."""
        time, memory = self.score(THREE_LAYERS, "time"), self.score(THREE_LAYERS, "memory")
        return {
            "memory_mape": memory.mape,
            "memory_under_rate": memory.under_rate,
            "time_mape": time.mape,
            "coverage90": self.coverage_time,
            "coverage90_memory": self.coverage_memory,
            "samples": len(self.judged),
            "run_to_run_noise": self.noise,
        }

    def goals(self) -> dict[str, bool]:
        """Which goals are reached."""
        figures = self.figures()
        reached = {name: bool(figures[name] <= goal) for name, goal in GOALS.items()}
        low, high = COVERAGE_GOAL
        return reached | {n: bool(low <= figures[n] <= high) for n in ("coverage90", "coverage90_memory")}

    def baselines(self) -> dict[str, Any]:
        """Scores of all other methods, by quantity and method."""
        found: dict[str, Any] = {"time": {}, "memory": {}}
        for score in self.scores:
            if score.method != THREE_LAYERS:
                found[score.quantity][score.method] = plain(score)
        return found


def evaluate(
    model: ProfileModel, known: Sequence[Sample], judged: Sequence[Sample], *, device: DeviceFigures, seed: int = 0
) -> Evaluation:
    """Judge a model that learned from `known`, and rivals that learn from them here, on `judged`."""
    predictions = tuple(model.predict(s.step) for s in judged)
    times, memory = (_truth(judged, q) for q in ("time", "memory"))
    scores = [
        _score(THREE_LAYERS, "time", np.array([e.step_s for e in predictions]), times),
        _score(THREE_LAYERS, "memory", np.array([e.memory_bytes for e in predictions]), memory),
        _score("operations and rates", "time", np.array([model.analytic.step_s(s.step) for s in judged]), times),
        *(_score(name, "time", p, times) for name, p in _time_rivals(known, judged, device, seed).items()),
        *(_score(name, "memory", p, memory) for name, p in _memory_rivals(known, judged, seed).items()),
    ]
    return Evaluation(
        judged=tuple(judged),
        predictions=predictions,
        scores=tuple(scores),
        coverage_time=_share([e.step_low_s <= t <= e.step_high_s for e, t in zip(predictions, times, strict=True)]),
        coverage_memory=_share(
            [e.memory_low_bytes <= m <= e.memory_high_bytes for e, m in zip(predictions, memory, strict=True)]
        ),
        noise=float(np.mean([s.spread for s in judged])),
    )


def _time_rivals(
    known: Sequence[Sample], judged: Sequence[Sample], device: DeviceFigures, seed: int
) -> dict[str, Array]:
    rates = Rates.fit([s.step for s in known], _truth(known, "time"))
    return {
        "analytic formula": np.array([nominal_step_s(s.step, device) for s in judged]),
        "rates": np.array([rates.step_s(s.step) for s in judged]),
        "linear": _fitted(_linear, known, judged, "time", seed),
        "gradient boosting": _fitted(_boosting, known, judged, "time", seed),
    }


def _memory_rivals(known: Sequence[Sample], judged: Sequence[Sample], seed: int) -> dict[str, Array]:
    return {
        "fake run": np.array([s.step.memory_bytes for s in judged], dtype=float),
        "paper's formula": np.array([_paper_bytes(s) for s in judged], dtype=float),
        "linear": _fitted(_linear, known, judged, "memory", seed),
        "gradient boosting": _fitted(_boosting, known, judged, "memory", seed),
    }


def _paper_bytes(sample: Sample) -> int:
    return paper_memory_bytes(
        parameter_bytes=4 * sample.work.parameters,
        activation_bytes_per_frame=sample.work.layer_output_bytes / sample.spec.batch_size,
        batch_size=sample.spec.batch_size,
        momentum=sample.spec.optimiser != "sgd",
    )


def _linear(seed: int) -> Any:  # noqa: ANN401 - scikit-learn has no types
    del seed
    return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 25)))


def _boosting(seed: int) -> Any:  # noqa: ANN401
    return GradientBoostingRegressor(
        n_estimators=400, max_depth=3, learning_rate=0.05, subsample=0.7, random_state=seed
    )


def _fitted(
    make: Callable[[int], Any], known: Sequence[Sample], judged: Sequence[Sample], quantity: Quantity, seed: int
) -> Array:
    """Predictions of a regression of the logarithm on the same features as the networks'."""
    regression = make(seed).fit(feature_matrix([s.step for s in known]), np.log(_truth(known, quantity)))
    found: Array = np.exp(regression.predict(feature_matrix([s.step for s in judged])))
    return found


def _truth(samples: Sequence[Sample], quantity: Quantity) -> Array:
    return np.array([s.step_s if quantity == "time" else s.memory_bytes for s in samples], dtype=float)


def _score(method: str, quantity: Quantity, predicted: Array, truth: Array) -> Score:
    relative = predicted / truth - 1
    errors = np.abs(relative)
    return Score(
        method=method,
        quantity=quantity,
        mape=float(errors.mean()),
        median=float(np.median(errors)),
        p90=float(np.quantile(errors, 0.9)),
        under_rate=float((relative < -UNDER).mean()),
        predicted=tuple(predicted.tolist()),
    )


def _share(hits: Sequence[bool]) -> float:
    return float(sum(hits) / len(hits))
