"""Scores of a model in one setting after another (paper Fig. 15)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import nn

from nestevo_hw.base.seeding import torch_generator
from nestevo_hw.crossbar.noise import weight_noise
from nestevo_hw.crossbar.teacher import AnalogTeacher
from nestevo_hw.studies.data.scores import Measure
from nestevo_hw.studies.noise.plan import DIGITAL, UNSWEPT, Trial
from nestevo_hw.studies.noise.sweeps import SWEEPS, TEACHING, Hardware, Setting

Scores = Mapping[str, Mapping[str, float]]
"""Of one evaluation: by scene and metric."""
Keep = Callable[[Trial, Scores], None]
SCORED = frozenset({*SWEEPS, DIGITAL, UNSWEPT}) - set(TEACHING)
"""Sweeps that score the model itself."""


class Rig:
    """One model in one setting after another; what was programmed last serves again where it can.

    A setting and a repeat decide everything: the order in which they are asked for changes nothing.

    Args:
        model: digital, in eval mode; not changed.
        calibration: batches that set the input ranges.
        seed: of the weight noise.
    """

    def __init__(self, model: nn.Module, calibration: Sequence[Any], *, seed: int) -> None:
        self._model, self._calibration, self._seed = model, calibration, seed
        self._built: tuple[Hardware, AnalogTeacher] | None = None

    @contextmanager
    def under(self, setting: Setting, repeat: int) -> Iterator[nn.Module]:
        """The model as it computes in a setting, for the time of a block; repeats draw independent noise."""
        if setting.mu is not None:
            generator = torch_generator(self._seed, "mu", repr(setting.mu), repeat)
            with weight_noise(self._model, setting.mu, generator):
                yield self._model
        elif setting.hardware is not None:
            teacher = self._teacher(setting.hardware)
            if not teacher.programmed or teacher.generation != repeat:
                teacher.program(generation=repeat, chip=repeat)
            teacher.age(setting.age_s)  # also starts the noise of the products again
            yield teacher.module
        else:
            yield self._model

    def _teacher(self, hardware: Hardware) -> AnalogTeacher:
        if self._built is None or self._built[0] != hardware:
            teacher = AnalogTeacher(
                self._model, device=hardware.preset, tile=hardware.tile, seed=hardware.seed,
                keep_digital=hardware.keep_digital, grouped=hardware.grouped, backend=hardware.backend,
            )  # fmt: skip
            teacher.calibrate(self._calibration)
            self._built = hardware, teacher
        return self._built[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A model in its trainings, how it is scored, and what it is programmed onto."""

    models: Mapping[str, nn.Module]
    """By training; digital, in eval mode."""
    measures: Mapping[str, Measure]
    """By training: an agreement is one with the training's own digital model."""
    calibration: Sequence[Any]
    hardware: Hardware
    seed: int = 0

    def run(self, trials: Sequence[Trial], known: Mapping[Trial, Scores], keep: Keep) -> None:
        """Find the scores of all trials.

        Args:
            trials: what to score.
            known: scores from before; they are not found again.
            keep: told of every score of `trials` that is not in `known`, in order.
        """
        mine = {trial: scores for trial, scores in known.items() if trial.sweep in SCORED}
        memo = {self._key(trial): scores for trial, scores in mine.items()}
        rigs = {name: Rig(model, self.calibration, seed=self.seed) for name, model in self.models.items()}
        for trial in trials:
            if trial in known:
                continue
            key = training, setting, draw = self._key(trial)
            if key not in memo:
                with rigs[training].under(setting, draw) as model:
                    memo[key] = self.measures[training](model)
            keep(trial, memo[key])

    def _key(self, trial: Trial) -> tuple[str, Setting, int]:
        """What decides a trial's score; many sweeps pass through the device as it is."""
        setting = setting_of(trial, self.hardware)
        return trial.training, setting, 0 if setting.mu == 0.0 else trial.repeat


def setting_of(trial: Trial, hardware: Hardware) -> Setting:
    """Under what a trial is scored."""
    if trial.sweep == DIGITAL:
        return Setting(mu=0.0)
    if trial.sweep == UNSWEPT:
        return Setting(hardware=hardware, age_s=hardware.age_s)
    return SWEEPS[trial.sweep].setting(hardware, trial.value)
