"""A run cut down to an impression: what `evolve --quick` leaves of a configuration."""

import math
from dataclasses import replace

from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.drift import segments_needed
from nestevo_hw.evolution.training import TrainingPlan

_TERMINALS, _UPLOADED, _TEST, _SEGMENT, _GENERATOR, _MUTUAL, _DISTIL = 2, 24, 20, 8, 100, 10, 12
_EVALUATIONS = 30


def impression(config: RunConfig) -> RunConfig:
    """The same run with one window, the first two terminals of it, and fewer frames and steps wherever it has more."""
    window, reference = config.window, config.reference
    there = tuple(t for t in config.terminals if t.joins == 0) or config.terminals
    terminals = tuple(replace(t, drift=tuple(d for d in t.drift if d.window == 0)) for t in there[:_TERMINALS])
    shown = len(reference.places) if any(t.place is not None or t.remote for t in terminals) else 0
    recorded = sum(t.video is not None or t.data is not None for t in terminals)
    segments = math.ceil(segments_needed(config.drift.false_alarm_rate) / max(1, shown + recorded))
    return replace(
        config,
        terminals=terminals,
        window=replace(
            window, count=1, upload_frames=min(window.upload_frames, _UPLOADED),
            test_frames=min(window.test_frames, _TEST),
        ),
        sampling=replace(config.sampling, budget_frames=None),
        reference=replace(
            reference, frames_per_segment=min(reference.frames_per_segment, _SEGMENT),
            segments_per_place=min(reference.segments_per_place, segments),
        ),
        drift=replace(
            config.drift, min_samples=None,  # what is found on fewer frames
            epsilon=None if config.drift.epsilon is None else min(config.drift.epsilon, len(terminals)),
        ),
        generator=replace(config.generator, steps=min(config.generator.steps, _GENERATOR)),
        elastic=replace(config.elastic, evaluations=min(config.elastic.evaluations, _EVALUATIONS)),
        mutual=replace(config.mutual, plan=_shorter(config.mutual.plan, _MUTUAL)),
        distil=replace(config.distil, plan=_shorter(config.distil.plan, _DISTIL)),
    )  # fmt: skip


def _shorter(plan: TrainingPlan, steps: int) -> TrainingPlan:
    return replace(plan, steps=min(plan.steps, steps))
