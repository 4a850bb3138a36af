"""What a model is hardened on: batches of inputs, without labels, none of which is scored on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.evolution.pretrain_frames import PLACES
from nestevo_hw.evolution.training import TrainingPlan, draws
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.storage import concatenate
from nestevo_hw.studies.data.dataset import Part
from nestevo_hw.studies.data.feeding import Feed
from nestevo_hw.tasks.capabilities import EmbeddedStreams, require
from nestevo_hw.tasks.task import VisionTask

_SPACING = 67
"""Frames of a stream between two that are learned from."""
Draw = list[tuple[Any, int]]
"""The samples of one step, in batches as the model takes them, with how many are in each."""
Waiting = dict[bool, list[int]]
"""Rows that are drawn but not used yet, in the form of `evolution.training.draws`."""


class Lessons(Protocol):
    """Endless draws of samples, one for each step."""

    @property
    def note(self) -> str:
        """For people to read: what they are."""
        ...

    def draws(self, plan: TrainingPlan, generator: torch.Generator, waiting: Waiting) -> Iterator[Draw]:
        """As many samples as the plan says, by the generator's state and `waiting`, which is kept up to date."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedLessons:
    """Frames of an embedded stream, with the augmentation of its task."""

    task: VisionTask
    images: torch.Tensor
    """(N, 3, H, W) uint8."""
    note: str
    device: torch.device
    """Where batches are wanted."""

    def draws(self, plan: TrainingPlan, generator: torch.Generator, waiting: Waiting) -> Iterator[Draw]:
        """See `Lessons`."""
        drawn = draws(self.images, plan, self.task.augmentation, generator, self.device, waiting=waiting)
        for draw in drawn:
            images = draw.images if self.task.name == "detection" else torch.stack(draw.images)
            yield [(images, len(draw.images))]


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnLessons:
    """Samples of the user's own, as they are."""

    feed: Feed
    part: Part
    note: str

    def draws(self, plan: TrainingPlan, generator: torch.Generator, waiting: Waiting) -> Iterator[Draw]:
        """See `Lessons`."""
        del waiting
        while True:
            rows = torch.randint(len(self.part), (plan.batch_size,), generator=generator).tolist()
            yield list(self.feed.batches([self.part.samples[row] for row in rows]))


def embedded_lessons(task: VisionTask, count: int, seed: int, device: torch.device) -> EmbeddedLessons:
    """Frames by day of other cameras than those that are scored.

    Args:
        task: whose embedded stream it is.
        count: of frames, about.
        seed: of the sceneries.
        device: where batches are wanted.
    """
    each = max(1, count // len(PLACES))
    parts: list[FrameBatch] = []
    streams = require(task, EmbeddedStreams, "hardening without --data")
    for place in PLACES:
        stream = streams.embedded_stream(
            name=place, place=place, seed=derive_seed(seed, "hardening", place), size=task.embedded.frame_size,
            role="training",
        )  # fmt: skip
        parts.append(stream.read([k * _SPACING for k in range(each)]))
    images = concatenate(parts).images
    note = f"learned from {len(images)} unlabelled frames of {len(PLACES)} other embedded cameras, all by day"
    return EmbeddedLessons(task=task, images=images, note=note, device=device)
