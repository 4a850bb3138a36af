"""How a model is hardened, as plain values."""

from dataclasses import dataclass
from typing import Annotated

from nestevo_hw.base.ranges import (
    AGE_S,
    BATCH_SIZE,
    CLIP_DEVIATIONS,
    DROP_CONNECT,
    LEARNING_RATE,
    SHARE,
    STEPS,
    TRAINED_ON,
    Range,
)
from nestevo_hw.crossbar.devices import DAY_S
from nestevo_hw.evolution.training import TrainingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class HardeningConfig:
    """One training under the device's noise; the loss is the distance from the clean model's outputs."""

    steps: Annotated[int, STEPS] = 150
    """Optimiser steps; the model is programmed anew in each."""
    batch_size: Annotated[int, BATCH_SIZE] = 8
    """Samples a step."""
    learning_rate: Annotated[float, LEARNING_RATE] = 1e-3
    """Peak step size of AdamW; warmed up over the first tenth, then cosine to zero."""
    samples: Annotated[int, TRAINED_ON] = 320
    """Learned from at most; none of them is scored on."""
    age_s: Annotated[float, AGE_S] = DAY_S
    """Ages are drawn up to this one, seconds after programming."""
    drop_connect: Annotated[float, DROP_CONNECT] = 0.0
    """Share of the cells that count as empty in a step, others each time."""
    clip: Annotated[float, CLIP_DEVIATIONS] = 2.0
    """Weights of an output are clipped at so many of their root mean squares in each step; 0 = not."""

    @property
    def plan(self) -> TrainingPlan:
        """Length and step size."""
        return TrainingPlan(steps=self.steps, batch_size=self.batch_size, learning_rate=self.learning_rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is trained and scored."""

    seeds: Annotated[int, Range(1, 1000)] = 3
    """Trainings that differ in their noise and batches."""
    repeats: Annotated[int, Range(2, 1000)] = 5
    """Programmings that each model is scored on."""
    compared_mu: Annotated[float, SHARE] = 0.0
    """Weight noise (eq. 18-20) of a training to compare with; 0 = none."""
