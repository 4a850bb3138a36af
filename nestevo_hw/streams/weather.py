"""Drift: when a stream's conditions change, and what each condition does to an image."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from nestevo_hw.base.errors import ConfigError, InputError

PHOTOMETRIC = ("fog", "rain", "dusk", "night", "defocus")
"""Conditions that change any image, in the order in which they are applied."""
SCENIC = ("scene", "mix")
"""Conditions of embedded streams only: another place, other road users."""
KINDS = PHOTOMETRIC + SCENIC


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftSegment:
    """From frame `start` on, one condition has this strength, until a later segment of the same kind."""

    start: int
    """First frame."""
    kind: str
    """night, dusk, fog, rain, defocus; for embedded streams also scene (another place) and mix (other users)."""
    strength: float
    """0 (none) to 1; about 0.6 costs a detector trained by day 15 to 50 points of mAP@0.50."""
    ramp: int = 0
    """Frames over which the strength moves linearly from its value before; 0 is a step."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"unknown drift kind {self.kind!r}; choose from {', '.join(KINDS)}")
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
        light = None if lights is None else lights[i]
        out.append(_one(image, wanted, generators[i], horizon, light))
    return torch.stack(out) if out else images


def _one(
    image: Tensor, wanted: Mapping[str, float], generator: Generator, horizon: float, light: Tensor | None
) -> Tensor:
    if s := wanted.get("fog", 0.0):
        image = fog(image, s, horizon)
    if s := wanted.get("rain", 0.0):
        image = rain(image, s, generator)
    if s := wanted.get("dusk", 0.0):
        image = dusk(image, s, generator)
    if s := wanted.get("night", 0.0):
        image = night(image, s, generator, light)
    if s := wanted.get("defocus", 0.0):
        image = defocus(image, s)
    return image.clamp(0.0, 1.0)


def fog(image: Tensor, strength: float, horizon: float) -> Tensor:
    """Koschmieder's law on flat ground: light from depth z keeps exp(-beta z), the rest is airlight."""
    height = image.shape[-2]
    below = (torch.arange(height, device=image.device) + 0.5) / height - horizon
    # Depth is 1 at 0.35 frame heights below the horizon; what stands there reaches above it, hence the bound.
    depth = (0.35 / below.clamp(min=0.01)).clamp(0.6, 2.2)
    kept = torch.exp(-1.25 * math.pow(strength, 1.3) * depth).view(1, height, 1)
    airlight = torch.tensor((0.76, 0.78, 0.8), device=image.device).view(3, 1, 1)
    return image * kept + airlight * (1 - kept)


def rain(image: Tensor, strength: float, generator: Generator) -> Tensor:
    """Slanted streaks, a grey veil and water on the lens."""
    _, height, width = image.shape
    grey = image.mean(0, keepdim=True)
    image = image + 0.5 * strength * (grey - image)
    image = 0.5 + (image - 0.5) * (1 - 0.42 * strength) - 0.06 * strength
    image = _blurred(image, 0.75 * strength * height / 128)
    length = max(5, round((6 + 12 * strength) * height / 128))
    drops = torch.rand((1, height, width), generator=generator).to(image.device)
    drops = (drops < 0.0075 * strength).to(image.dtype)
    streaks = torch.stack([drops.roll((k, -round(k / 4)), (-2, -1)) for k in range(length)]).amax(0)
    streaks = _blurred(streaks, 0.5 * height / 128)
    return image + (0.85 - image) * streaks * (0.25 + 0.5 * strength)


def dusk(image: Tensor, strength: float, generator: Generator) -> Tensor:
    """Low warm light: darker, redder, less contrast in the shade, a little sensor noise."""
    tint = torch.tensor((1.0, 0.78, 0.66), device=image.device).view(3, 1, 1) ** (1.1 * strength)
    dark = image.pow(1 + 0.75 * strength) * tint * (1 - 0.48 * strength)
    return dark + 0.028 * strength * _noise(image, generator)


def night(image: Tensor, strength: float, generator: Generator, light: Tensor | None) -> Tensor:
    """Blue darkness with warm pools of lamp light, seen by a sensor at high gain."""
    if light is None:
        light = street_lamps(*image.shape[-2:]).to(image)
    sky = torch.tensor((0.5, 0.66, 1.0), device=image.device).view(3, 1, 1)
    lamp = torch.tensor((1.0, 0.8, 0.52), device=image.device).view(3, 1, 1)
    shown = (0.18 * sky + 0.75 * lamp * light).clamp(max=1.0)
    gain = (1 - strength) + strength * shown
    exposed = image.pow(1 + 0.4 * strength) * gain + 0.35 * strength * (light - 0.85).clamp(min=0) * lamp
    return exposed + 0.06 * math.pow(strength, 1.5) * _noise(image, generator)


def street_lamps(height: int, width: int) -> Tensor:
    """(1, H, W) pools of light of three assumed lamps, 0..1."""
    y = torch.linspace(0, 1, height).view(-1, 1)
    x = torch.linspace(0, 1, width).view(1, -1)
    pools = [torch.exp(-(((x - cx) / 0.16) ** 2) - ((y - 0.6) / 0.24) ** 2) for cx in (0.15, 0.5, 0.85)]
    return torch.stack(pools).amax(0, keepdim=True)


def defocus(image: Tensor, strength: float) -> Tensor:
    """Gaussian blur of up to 1.8 px at 128 rows."""
    return _blurred(image, 1.8 * strength * image.shape[-2] / 128)


def _blurred(image: Tensor, sigma: float) -> Tensor:
    from kornia.filters import gaussian_blur2d

    if sigma < 0.2:
        return image
    size = 2 * math.ceil(2.5 * sigma) + 1
    blurred: Tensor = gaussian_blur2d(image[None], (size, size), (sigma, sigma))[0]
    return blurred


def _noise(image: Tensor, generator: Generator) -> Tensor:
    """Grey and coloured sensor noise of unit deviation, drawn on the CPU so that every device agrees."""
    grey = torch.randn((1, *image.shape[-2:]), generator=generator)
    colour = torch.randn(image.shape, generator=generator)
    return (0.8 * grey + 0.6 * colour).to(image)
