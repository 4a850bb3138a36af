"""Costs of tasks from a stored profile of this machine, corrected by every task that finishes."""

import math
from pathlib import Path

import numpy as np

from nestevo_hw.base.errors import InputError
from nestevo_hw.profiler.conformal import COVERAGE
from nestevo_hw.profiler.costs import Measured, MemoryRatios, Prediction, TaskFeatures
from nestevo_hw.profiler.model import ProfileModel
from nestevo_hw.profiler.online import AdaptiveWidth, Residuals
from nestevo_hw.profiler.step_features import Array, step_features
from nestevo_hw.profiler.target import TargetDevice

FALLBACK_WIDTH = 0.7
"""Half width of the interval of log time where only a dry run is known."""
NORMAL_90 = 1.645
"""Standard deviations each way that hold 90 % of a normal distribution."""


class ProfiledCosts:
    """A `CostModel` that begins with what `nestevo-hw profile` has learned.

    Time is the profile's prediction of a step times the steps, and the dry run's where the task is too unlike all that
    was measured or has no fake run. Memory is what the features bring. Finished tasks of the kind correct both.

    Args:
        model: learned on the machine that runs the tasks.
    """

    def __init__(self, model: ProfileModel) -> None:
        self.model = model
        self._residuals = Residuals()
        self._width = AdaptiveWidth(COVERAGE)
        self._memory = MemoryRatios()

    @classmethod
    def load(cls, path: Path, device: TargetDevice) -> "ProfiledCosts":
        """From the file `profile.safetensors` of a profile that was measured on a device of the same kind.

        Raises:
            InputError: the file is missing, damaged or something else, or was measured on another kind of device.
        """
        model = ProfileModel.load(path)
        measured = "cuda" if "gpu" in model.about.get("machine", {}) else "cpu"
        if measured != device.kind:
            raise InputError(
                f"{path} was measured on {measured}, but trainings run on {device.kind}; measure one with "
                f"`nestevo-hw profile --device {device.kind}`, or leave execution.profile out"
            )
        return cls(model)

    def predict(self, features: TaskFeatures) -> Prediction:
        """See `CostModel.predict`."""
        residual, _ = self._residuals.at(features.kind, self._place(features))
        return Prediction(
            memory_bytes=self._memory.corrected(features), duration_s=self._base(features)[0] * math.exp(residual)
        )

    def interval(self, features: TaskFeatures) -> tuple[float, float]:
        """Seconds between which 90 % of such tasks are expected to take."""
        residual, deviation = self._residuals.at(features.kind, self._place(features))
        base, width = self._base(features)
        # The uncertainty of a kind's offset comes on top of the profile's own once there are tasks that show one.
        width = math.hypot(width, NORMAL_90 * deviation) if self._residuals.seen else width
        middle, half = base * math.exp(residual), math.exp(width * self._width.factor)
        return middle / half, middle * half

    def observe(self, features: TaskFeatures, measured: Measured) -> None:
        """See `CostModel.observe`."""
        self._memory.observe(features, measured.memory_bytes)
        if measured.duration_s is None:
            return
        low, high = self.interval(features)
        self._width.learn(covered=low <= measured.duration_s <= high)
        log_ratio = math.log(measured.duration_s / self._base(features)[0])
        self._residuals.add(features.kind, self._place(features), log_ratio)

    def _base(self, features: TaskFeatures) -> tuple[float, float]:
        """Seconds before any finished task is heeded, and the half width of their logarithm's interval."""
        if features.step is None:
            return features.dry_duration_s, FALLBACK_WIDTH
        predicted = self.model.predict(features.step)
        width = math.log(predicted.step_high_s / predicted.step_s)
        if predicted.trust == "refused":
            return features.dry_duration_s, max(width, FALLBACK_WIDTH)
        return predicted.step_s * features.steps, width

    def _place(self, features: TaskFeatures) -> Array:
        if features.step is None:
            return np.zeros(self.model.seen.points.shape[1])
        return self.model.seen.scaled(step_features(features.step))
