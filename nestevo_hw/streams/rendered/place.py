"""Places: camera, street plan and palette of a fixed camera, all drawn from a name and a seed."""

import colorsys
import math
from dataclasses import dataclass

from numpy.random import Generator

from nestevo_hw.base.seeding import numpy_generator
from nestevo_hw.streams.rendered.camera import Camera, Colour

World = tuple[float, float, float]
SIDE_ROAD_M = 8.0
"""Distance of a crossing's second road from the zebra crossing."""
STYLES = ("street", "avenue", "diagonal", "crossing", "plaza")
KNOWN_STYLES = {
    "campus": "plaza",
    "village": "street",
    "downtown": "avenue",
    "crossing": "crossing",
    "suburb": "diagonal",
    "station": "plaza",
    "market": "plaza",
    "harbour": "street",
    "school": "street",
    "park": "diagonal",
    "highway": "avenue",
}
# Share of pedestrians, cars and cyclists among the road users.
KNOWN_MIXES = {
    "campus": (0.45, 0.2, 0.35),
    "market": (0.6, 0.2, 0.2),
    "highway": (0.1, 0.75, 0.15),
    "downtown": (0.35, 0.4, 0.25),
}
GROUNDS: tuple[tuple[float, float, float], ...] = (
    (0.27, 0.38, 0.42), (0.24, 0.3, 0.5), (0.09, 0.25, 0.55), (0.1, 0.08, 0.58), (0.3, 0.42, 0.36),
)  # fmt: skip
"""Hue, saturation and value of grass, dry grass, sand, gravel and lawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Road:
    """Axes of the street plan: s along the road, q across it, to its left."""

    x: float
    z: float
    """Where s = q = 0 lies, metres."""
    heading: float
    """Of the s axis, radians from x towards z."""
    half_width_m: float
    pavement_m: float
    """Width of each pavement."""

    def at(self, s: float, q: float, y: float = 0.0) -> World:
        """World point of street coordinates."""
        c, n = math.cos(self.heading), math.sin(self.heading)
        return self.x + s * c - q * n, y, self.z + s * n + q * c


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """Colours of what does not move."""

    sky: tuple[Colour, Colour]
    """At the top and at the horizon."""
    ground: Colour
    asphalt: Colour
    paving: Colour
    walls: tuple[Colour, ...]
    leaves: Colour
    paint: Colour
    """Road markings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Everything fixed about one camera's view."""

    name: str
    seed: int
    style: str
    camera: Camera
    road: Road
    palette: Palette
    mix: tuple[float, float, float]
    """Share of pedestrians, cars and cyclists."""
    busyness: float
    """Mean number of road users in view."""
    sun: tuple[float, float]
    """Ground offset of the shadow of something 1 m high, metres in x and z."""
    zebra_s: float
    """Where the zebra crossing lies along the road, metres."""


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Colour from hue, saturation and value in 0..1."""
    r, g, b = colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))
    return round(r * 255), round(g * 255), round(b * 255)


def make_place(name: str, seed: int, size: tuple[int, int], *, unusual: float = 0.0) -> Place:
    """The place called `name` under `seed`.

    Args:
        name: any text; some names have a street plan of their own, all others draw one.
        seed: equal names under different seeds are different places of one kind.
        size: (H, W) of the frames, pixels.
        unusual: 0 to 1, how far camera and palette leave what pre-training has seen.

    Returns:
        The place; equal arguments give equal places.
    """
    rng = numpy_generator(seed, "place", name)
    style = KNOWN_STYLES.get(name) or str(rng.choice(STYLES))
    height, width = size
    camera = Camera(
        width_px=width,
        height_px=height,
        focal_px=height * rng.uniform(1.15, 1.45) * (1 - 0.25 * unusual),
        horizon_px=height * (rng.uniform(0.17, 0.3) - 0.35 * unusual),
        height_m=rng.uniform(4.2, 6.0) * (1 + 0.7 * unusual),
    )
    mix = KNOWN_MIXES.get(name) or tuple(float(v) for v in 0.18 + 0.46 * rng.dirichlet((2, 2, 2)))
    angle = rng.uniform(0, 2 * math.pi)
    reach = rng.uniform(0.3, 1.1)
    return Place(
        name=name,
        seed=seed,
        style=style,
        camera=camera,
        road=_road(style, rng),
        palette=_palette(rng, unusual),
        mix=(mix[0], mix[1], mix[2]),
        busyness=rng.uniform(4.2, 6.0),
        sun=(reach * math.cos(angle), reach * math.sin(angle)),
        zebra_s=rng.uniform(-5, 5),
    )


def _road(style: str, rng: Generator) -> Road:
    side = float(rng.choice((-1, 1)))
    heading, x, z = {
        "street": (rng.uniform(-0.25, 0.25), 0.0, rng.uniform(15.5, 20)),
        "crossing": (rng.uniform(-0.2, 0.2), 0.0, rng.uniform(16, 20)),
        "plaza": (rng.uniform(-0.3, 0.3), 0.0, rng.uniform(24, 29)),
        "diagonal": (side * rng.uniform(0.45, 0.8), 0.0, rng.uniform(17, 21)),
        "avenue": (side * rng.uniform(1.1, 1.4), rng.uniform(-2.5, 2.5), rng.uniform(15, 18)),
    }[style]
    return Road(x=x, z=z, heading=heading, half_width_m=rng.uniform(3.2, 4.2), pavement_m=rng.uniform(2.2, 3.4))


def _palette(rng: Generator, unusual: float) -> Palette:
    blue = rng.uniform(0.53, 0.62)
    overcast = rng.uniform(0, 1)
    hue, saturation, value = GROUNDS[int(rng.integers(len(GROUNDS)))]
    grey, warm = rng.uniform(0.3, 0.46), rng.uniform(0.02, 0.12)
    # An unusual place lies under snow: bright ground, no grass, pale walls.
    snow = unusual
    walls = tuple(
        hsv(rng.uniform(0, 0.14) if rng.random() < 0.75 else rng.uniform(0.4, 0.7), rng.uniform(0.05, 0.42), v)
        for v in rng.uniform(0.4, 0.85, size=6)
    )
    return Palette(
        sky=(
            hsv(blue, 0.5 * (1 - overcast) + 0.05, rng.uniform(0.75, 0.92)),
            hsv(blue, 0.12, rng.uniform(0.85, 0.96)),
        ),
        ground=hsv(
            hue + rng.uniform(-0.03, 0.03),
            saturation * (1 - snow),
            value + (0.92 - value) * snow + rng.uniform(-0.05, 0.05),
        ),
        asphalt=hsv(0.6, rng.uniform(0, 0.08), grey + 0.3 * snow),
        paving=hsv(0.09, warm * (1 - snow), rng.uniform(0.5, 0.68) + 0.22 * snow),
        walls=walls,
        leaves=hsv(
            rng.uniform(0.2, 0.36) - 0.12 * snow, rng.uniform(0.3, 0.6) * (1 - 0.5 * snow), rng.uniform(0.25, 0.42)
        ),
        paint=hsv(0.12, 0.05, rng.uniform(0.72, 0.9)),
    )
