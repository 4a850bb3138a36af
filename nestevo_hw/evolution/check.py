"""What can be found wrong with a configuration before anything runs."""

from collections.abc import Mapping

import torch

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.chips.chip import load_chip
from nestevo_hw.crossbar.devices import find_preset
from nestevo_hw.evolution.cameras import check_frames, open_stream, plan_window
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.drift import calibrated_threshold
from nestevo_hw.evolution.grouping import declared_groups
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.evolution.refresh import chip_of
from nestevo_hw.evolution.teacher import DIGITAL
from nestevo_hw.models.checkpoint import resolve_checkpoint
from nestevo_hw.streams.matching import LabelReview
from nestevo_hw.streams.sampling import allocate
from nestevo_hw.streams.video import VideoStream
from nestevo_hw.tasks.capabilities import (
    AdversarialAdaptation,
    FeatureGeneration,
    LabelConfirmation,
    MutualLearning,
    SmallerInput,
    require,
)
from nestevo_hw.tasks.named import task_named


def check_run(config: RunConfig) -> dict[str, LabelReview]:
    """Open every checkpoint and stream a run will need, and plan every window.

    Returns:
        What became of the label file of each terminal that has one.

    Raises:
        ConfigError: an unknown name, a task that cannot do what the method wants, an absent device, an age the
            crossbar has no model for, or windows too short for their frames.
        InputError: a video or its labels that cannot be read or are too short.
    """
    _check_capabilities(config)
    METHODS[config.method].check(config)
    declared_groups(config)
    _check_budget(config)
    resolve_checkpoint(config.teacher.model)
    reviews: dict[str, LabelReview] = {}
    for terminal in config.terminals:
        resolve_checkpoint(terminal.model)
        stream = open_stream(config, terminal)
        for window in range(config.window.count):
            check_frames(stream, *plan_window(config, terminal, stream, window))
        if isinstance(stream, VideoStream) and stream.review is not None:
            reviews[terminal.name] = stream.review
    if config.execution.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("execution.device is cuda but torch finds no CUDA device; use auto or cpu")
    if config.teacher.device != DIGITAL:
        preset = find_preset(config.teacher.device)
        for age_s in _ages(config):
            preset.check_time(age_s)
        load_chip(chip_of(config.refresh, config.teacher.device))
    if config.drift.gamma is None and all(t.place is not None for t in config.terminals):
        segments = len(config.reference.places) * config.reference.segments_per_place
        calibrated_threshold([0.0] * segments, config.drift.false_alarm_rate)
    return reviews


def label_warnings(reviews: Mapping[str, LabelReview]) -> list[str]:
    """What should be looked at in label files, a line each; once where terminals share a file."""
    return list(dict.fromkeys(line for review in reviews.values() for line in review.warnings))


def _check_capabilities(config: RunConfig) -> None:
    """The task can do what the method and the settings want of it."""
    task, kinds, method = task_named(config.task), METHODS[config.method].kinds, f"method {config.method}"
    if "mutual" in kinds:
        require(task, MutualLearning, method)
    if "adapt" in kinds:
        require(task, AdversarialAdaptation, method)
    if "generate" in kinds and config.generator.enabled:
        require(task, FeatureGeneration, "generator.enabled")
    if config.confirms:
        require(task, LabelConfirmation, "labels.confirm")
    if config.compression.enabled:
        require(task, SmallerInput, "compression.enabled")


def _ages(config: RunConfig) -> list[float]:
    """Every age at which the teacher may be read: of the first programming, and of later ones."""
    starts = [config.window.start_s(window) for window in range(config.window.count)]
    return [config.teacher.age_s + s for s in starts] + [config.teacher.delay_s + s for s in starts]


def _check_budget(config: RunConfig) -> None:
    """The upload budget gives every terminal of every window its least."""
    sampling, most = config.sampling, config.window.segment_frames
    if sampling.budget_frames is not None:
        for window in range(config.window.count):
            present = dict.fromkeys(config.present(window), 0.0)
            allocate(present, sampling.budget_frames, least=sampling.least_frames, most=most)
