"""The kinds of drift: what each condition does to an image, and to which streams it may come."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # torch is imported by those who change images: the names of the kinds stay light
    from torch import Generator, Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """What a condition needs to know of a frame beside its pixels."""

    generator: "Generator"
    """Of streaks and noise."""
    horizon: float
    """Row of the horizon as a share of the height."""
    light: "Tensor | None"
    """(1, H, W) lamp light in 0..1; None where nobody knows."""


def fog(image: "Tensor", strength: float, shot: Shot) -> "Tensor":
    """Koschmieder's law on flat ground: light from depth z keeps exp(-beta z), the rest is airlight."""
    import torch

    height = image.shape[-2]
    below = (torch.arange(height, device=image.device) + 0.5) / height - shot.horizon
    # Depth is 1 at 0.35 frame heights below the horizon; what stands there reaches above it, hence the bound.
    depth = (0.35 / below.clamp(min=0.01)).clamp(0.6, 2.2)
    kept = (-1.25 * math.pow(strength, 1.3) * depth).exp().view(1, height, 1)
    airlight = _colour(image, 0.76, 0.78, 0.8)
    return image * kept + airlight * (1 - kept)


def rain(image: "Tensor", strength: float, shot: Shot) -> "Tensor":
    """Slanted streaks, a grey veil and water on the lens."""
    import torch

    _, height, width = image.shape
    grey = image.mean(0, keepdim=True)
    image = image + 0.5 * strength * (grey - image)
    image = 0.5 + (image - 0.5) * (1 - 0.42 * strength) - 0.06 * strength
    image = _blurred(image, 0.75 * strength * height / 128)
    length = max(5, round((6 + 12 * strength) * height / 128))
    drops = torch.rand((1, height, width), generator=shot.generator) < 0.0075 * strength
    rows, columns = drops[0].nonzero(as_tuple=True)
    down = torch.arange(length)
    aside = torch.tensor([round(k / 4) for k in range(length)])
    streaks = torch.zeros((1, height, width))
    streaks[0, (rows[:, None] + down) % height, (columns[:, None] - aside) % width] = 1.0
    streaks = _blurred(streaks.to(image), 0.5 * height / 128)
    return image + (0.85 - image) * streaks * (0.25 + 0.5 * strength)


def dusk(image: "Tensor", strength: float, shot: Shot) -> "Tensor":
    """Low warm light: darker, redder, less contrast in the shade, a little sensor noise."""
    tint = _colour(image, 1.0, 0.78, 0.66) ** (1.1 * strength)
    dark = image.pow(1 + 0.75 * strength) * tint * (1 - 0.48 * strength)
    return dark + 0.028 * strength * _noise(image, shot.generator)


def night(image: "Tensor", strength: float, shot: Shot) -> "Tensor":
    """Blue darkness with warm pools of lamp light, seen by a sensor at high gain."""
    light = street_lamps(*image.shape[-2:]).to(image) if shot.light is None else shot.light
    sky = _colour(image, 0.5, 0.66, 1.0)
    lamp = _colour(image, 1.0, 0.8, 0.52)
    shown = (0.18 * sky + 0.75 * lamp * light).clamp(max=1.0)
    gain = (1 - strength) + strength * shown
    exposed = image.pow(1 + 0.4 * strength) * gain + 0.35 * strength * (light - 0.85).clamp(min=0) * lamp
    return exposed + 0.06 * math.pow(strength, 1.5) * _noise(image, shot.generator)


def street_lamps(height: int, width: int) -> "Tensor":
    """(1, H, W) pools of light of three assumed lamps, 0..1."""
    import torch

    y = torch.linspace(0, 1, height).view(-1, 1)
    x = torch.linspace(0, 1, width).view(1, -1)
    pools = [torch.exp(-(((x - cx) / 0.16) ** 2) - ((y - 0.6) / 0.24) ** 2) for cx in (0.15, 0.5, 0.85)]
    return torch.stack(pools).amax(0, keepdim=True)


def defocus(image: "Tensor", strength: float, _: Shot) -> "Tensor":
    """Gaussian blur of up to 1.8 px at 128 rows."""
    return _blurred(image, 1.8 * strength * image.shape[-2] / 128)


def _blurred(image: "Tensor", sigma: float) -> "Tensor":
    from kornia.filters import gaussian_blur2d

    if sigma < 0.2:
        return image
    size = 2 * math.ceil(2.5 * sigma) + 1
    blurred: Tensor = gaussian_blur2d(image[None], (size, size), (sigma, sigma))[0]
    return blurred


def _colour(image: "Tensor", red: float, green: float, blue: float) -> "Tensor":
    """(3, 1, 1), like the image."""
    return image.new_tensor((red, green, blue)).view(3, 1, 1)


def _noise(image: "Tensor", generator: "Generator") -> "Tensor":
    """Grey and coloured sensor noise of unit deviation, drawn on the CPU so that every device agrees."""
    import torch

    grey = torch.randn((1, *image.shape[-2:]), generator=generator)
    colour = torch.randn(image.shape, generator=generator)
    return (0.8 * grey + 0.6 * colour).to(image)


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftKind:
    """A condition that a stream may come under."""

    name: str
    summary: str
    """What it does to a frame, in one line."""
    at_full: str
    """What a strength of 1 means."""
    change: "Callable[[Tensor, float, Shot], Tensor] | None"
    """What a strength, > 0 to 1, makes of a (3, H, W) image in 0..1; None: the renderer of street scenes makes it."""


DRIFT_KINDS: dict[str, DriftKind] = {
    kind.name: kind
    for kind in (
        DriftKind(
            name="fog",
            summary="airlight hides what is far, up to the horizon",
            at_full="29 % of the contrast is left at 35 % of the frame's height below the horizon",
            change=fog,
        ),
        DriftKind(
            name="rain",
            summary="slanted streaks, a grey veil and water on the lens",
            at_full="58 % of the contrast and half of the colour are left",
            change=rain,
        ),
        DriftKind(
            name="dusk",
            summary="low warm light with less contrast in the shade",
            at_full="52 % of the light is left in the brightest places",
            change=dusk,
        ),
        DriftKind(
            name="night",
            summary="blue darkness with warm pools of lamp light and the noise of a sensor at high gain",
            at_full="18 % of the blue light and 9 % of the red is left between the lamps",
            change=night,
        ),
        DriftKind(
            name="defocus",
            summary="a blurred lens",
            at_full="Gaussian blur of 1.8 px at 128 rows",
            change=defocus,
        ),
        DriftKind(
            name="scene",
            summary="another place, seen by another camera",
            at_full="camera and colours as pre-training has never seen them, snow on the ground",
            change=None,
        ),
        DriftKind(
            name="mix",
            summary="other road users",
            at_full="every look is new to the place, and classes are as frequent as elsewhere",
            change=None,
        ),
    )
}
"""Every kind of drift by name, in the order in which they are applied."""
WEATHER = tuple(kind.name for kind in DRIFT_KINDS.values() if kind.change is not None)
"""Kinds that change any image: rendered, recorded or of digits. The others need rendered street scenes."""
