"""Drift: when a stream's conditions change, and images under them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.streams.drift_kinds import DRIFT_KINDS, WEATHER, Shot


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSegment:
    """From frame `start` on, one condition has this strength, until a later segment of the same kind."""

    start: int
    """First frame."""
    kind: str
    """A name of `DRIFT_KINDS`."""
    strength: float
    """0 (none) to 1; about 0.6 costs a detector trained by day 15 to 50 points of mAP@0.50."""
    ramp: int = 0
    """Frames over which the strength moves linearly from its value before; 0 is a step."""

    def __post_init__(self) -> None:
        if self.kind not in DRIFT_KINDS:
            raise ConfigError(f"unknown drift kind {self.kind!r}; choose from {', '.join(DRIFT_KINDS)}")
        if not 0.0 <= self.strength <= 1.0:
            raise ConfigError(f"drift {self.kind}: need a strength from 0 to 1, got {self.strength}")
        if self.start < 0 or self.ramp < 0:
            raise ConfigError(
                f"drift {self.kind}: need start and ramp of 0 frames or more, got {self.start} and {self.ramp}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftScript:
    """Conditions of one terminal over time; several kinds combine."""

    segments: tuple[DriftSegment, ...] = ()

    def __post_init__(self) -> None:
        starts = [(s.kind, s.start) for s in self.segments]
        for kind, start in starts:
            if starts.count((kind, start)) > 1:
                raise ConfigError(f"drift {kind}: two segments start at frame {start}; keep one of them")

    def strengths(self, index: int) -> dict[str, float]:
        """Strength of each condition at one frame; conditions without strength are left out."""
        found: dict[str, float] = {}
        for segment in sorted(self.segments, key=lambda s: s.start):
            if index < segment.start:
                break
            before = self._before(segment)
            progress = min(1.0, (index - segment.start) / segment.ramp) if segment.ramp else 1.0
            found[segment.kind] = before + progress * (segment.strength - before)
        return {kind: value for kind, value in found.items() if value > 0.0}

    def check_weather_only(self, stream: str) -> None:
        """Refuse conditions that only a renderer can make, for a stream of images that exist already.

        Raises:
            ConfigError: with the stream's name.
        """
        for segment in self.segments:
            if segment.kind not in WEATHER:
                raise ConfigError(
                    f"stream {stream!r}: drift {segment.kind} needs rendered street scenes; use {', '.join(WEATHER)}"
                )

    def _before(self, segment: DriftSegment) -> float:
        """Strength of the segment's kind just before it starts."""
        earlier = [s for s in self.segments if s.kind == segment.kind and s.start < segment.start]
        if not segment.ramp or not earlier:
            return 0.0
        last = max(earlier, key=lambda s: s.start)
        before = self._before(last)
        progress = min(1.0, (segment.start - last.start) / last.ramp) if last.ramp else 1.0
        return before + progress * (last.strength - before)


def apply_weather(
    images: Tensor,
    strengths: Sequence[Mapping[str, float]],
    generators: Sequence[Generator],
    *,
    horizon: float = 0.25,
    lights: Tensor | None = None,
) -> Tensor:
    """Change images as the conditions of each demand; geometry stays, so labels stay valid.

    Args:
        images: (N, 3, H, W) float32 in 0..1.
        strengths: of each image, condition to strength 0..1; scenic conditions are left to the renderer.
        generators: of each image, for its streaks and noise.
        horizon: row of the horizon as a share of the height; fog thickens towards it.
        lights: (N, 1, H, W) lamp light in 0..1 that night leaves on; without it a few lamps are assumed.

    Returns:
        (N, 3, H, W) float32 in 0..1.

    Raises:
        InputError: the lengths disagree.
    """
    if not len(images) == len(strengths) == len(generators):
        raise InputError(
            f"expected as many strengths and generators as images but got {len(images)} images, "
            f"{len(strengths)} strengths and {len(generators)} generators"
        )
    out = []
    for i, (image, wanted) in enumerate(zip(images, strengths, strict=True)):
        shot = Shot(generator=generators[i], horizon=horizon, light=None if lights is None else lights[i])
        for kind in DRIFT_KINDS.values():
            if kind.change is not None and (strength := wanted.get(kind.name, 0.0)):
                image = kind.change(image, strength, shot).clamp(0.0, 1.0)  # noqa: PLW2901 - one on top of another
        out.append(image)
    return torch.stack(out) if out else images
