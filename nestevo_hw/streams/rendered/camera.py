"""A fixed pinhole camera above flat ground, and the flat shapes it draws."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw

Point = tuple[float, float]
Colour = tuple[int, int, int]
NEAR_M = 1.5


class Shape(NamedTuple):
    """A filled polygon, or the ellipse within the bounds of two points, in pixels."""

    points: Sequence[Point]
    colour: Colour
    ellipse: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """Pinhole camera that looks along z; x is right, y is up, the ground is y = 0.

    Tilt is modelled by shifting the horizon, so vertical lines stay vertical.
    """

    width_px: int
    height_px: int
    focal_px: float
    horizon_px: float
    """Row of the horizon."""
    height_m: float
    """Of the camera above the ground."""

    def scaled(self, factor: int) -> "Camera":
        """The same view with `factor` times as many pixels a side."""
        return Camera(
            width_px=self.width_px * factor,
            height_px=self.height_px * factor,
            focal_px=self.focal_px * factor,
            horizon_px=self.horizon_px * factor,
            height_m=self.height_m,
        )

    def scale(self, z: float) -> float:
        """Pixels a metre at depth z."""
        return self.focal_px / z

    def point(self, x: float, y: float, z: float) -> Point:
        """Pixel of one world point, metres; z must be positive."""
        scale = self.focal_px / z
        return self.width_px / 2 + x * scale, self.horizon_px + (self.height_m - y) * scale

    def points(self, world: NDArray[np.float64]) -> list[Point]:
        """Pixels of (N, 3) world points in front of the camera."""
        scale = self.focal_px / world[:, 2]
        columns = self.width_px / 2 + world[:, 0] * scale
        rows = self.horizon_px + (self.height_m - world[:, 1]) * scale
        return list(zip(columns.tolist(), rows.tolist(), strict=True))

    def polygon(self, world: Sequence[tuple[float, float, float]]) -> list[Point]:
        """Pixels of a world polygon, cut off at the near plane; empty if all of it lies behind."""
        kept: list[tuple[float, float, float]] = []
        for a, b in zip(world, [*world[1:], world[0]], strict=True):
            if a[2] >= NEAR_M:
                kept.append(a)
            if (a[2] >= NEAR_M) != (b[2] >= NEAR_M):
                t = (NEAR_M - a[2]) / (b[2] - a[2])
                kept.append((a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1]), NEAR_M))
        return [self.point(*p) for p in kept] if len(kept) > 2 else []


def limb(a: Point, b: Point, width: float, colour: Colour) -> Shape:
    """A straight bar from a to b, at least one pixel wide."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    half = max(width, 1.0) / 2 / max((dx * dx + dy * dy) ** 0.5, 1e-6)
    nx, ny = -dy * half, dx * half
    corners = ((a[0] + nx, a[1] + ny), (b[0] + nx, b[1] + ny), (b[0] - nx, b[1] - ny), (a[0] - nx, a[1] - ny))
    return Shape(corners, colour)


def disc(centre: Point, rx: float, ry: float, colour: Colour) -> Shape:
    """An ellipse with half axes rx and ry."""
    x, y = centre
    return Shape(((x - rx, y - ry), (x + rx, y + ry)), colour, ellipse=True)


def shade(colour: Colour, factor: float) -> Colour:
    """A lighter or darker colour."""
    r, g, b = (min(255, max(0, round(c * factor))) for c in colour)
    return r, g, b


def bounds(shapes: Iterable[Shape]) -> tuple[float, float, float, float]:
    """Smallest x1 y1 x2 y2 that holds all shapes, pixels."""
    xs, ys = zip(*(p for shape in shapes for p in shape.points), strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def paint(draw: ImageDraw.ImageDraw, shapes: Iterable[Shape]) -> None:
    """Fill the shapes in order."""
    for shape in shapes:
        if shape.ellipse:
            draw.ellipse(shape.points, fill=shape.colour)
        else:
            draw.polygon(shape.points, fill=shape.colour)


def silhouette(draw: ImageDraw.ImageDraw, shapes: Iterable[Shape], factor: float) -> None:
    """Fill the shapes with 255, scaled by `factor`, for visibility masks."""
    for points, _, ellipse in shapes:
        scaled = [(x * factor, y * factor) for x, y in points]
        if ellipse:
            draw.ellipse(scaled, fill=255)
        else:
            draw.polygon(scaled, fill=255)
