"""Street furniture: trees, lamp posts, bins, signs and other things that hide and resemble road users."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from numpy.random import Generator

from nestevo_hw.base.seeding import numpy_generator
from nestevo_hw.streams.rendered.camera import Camera, Colour, Point, Shape, disc, limb, shade
from nestevo_hw.streams.rendered.figures import Pose, bicycle
from nestevo_hw.streams.rendered.place import Place, hsv
from nestevo_hw.streams.rendered.traffic import FARTHEST_M, NEAREST_M

SMALL_KINDS = ("bin", "bollard", "post box", "sign", "bicycle", "bench", "bush", "hydrant")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prop:
    """One thing that stands still among the road users."""

    kind: str
    x: float
    z: float
    height_m: float
    shapes: tuple[Shape, ...]


def make_furniture(place: Place, camera: Camera) -> list[Prop]:
    """Street furniture of a place as seen by `camera`, farthest first."""
    rng = numpy_generator(place.seed, "furniture", place.name)
    road, found = place.road, []
    kerb = road.half_width_m + 0.5
    back = road.half_width_m + road.pavement_m
    spots: list[tuple[str, float, float]] = []
    for side in (1, -1):
        for k in range(-3, 4):
            spots.append(("lamp", 11.0 * k + rng.uniform(-1, 1) + 5 * side, side * kerb))
        spots += [("tree", rng.uniform(-28, 28), side * (back + rng.uniform(0.3, 2.5))) for _ in range(4)]
        for _ in range(6):
            kind = str(rng.choice(SMALL_KINDS))
            spots.append((kind, rng.uniform(-18, 18), side * rng.choice((kerb, back - 0.3))))
    for kind, s, q in spots:
        x, _, z = road.at(s, q)
        own = rng.spawn(1)[0]
        tall = kind == "tree" and z < 13  # a crown this near would hide half the view
        if NEAREST_M + 1 < z < FARTHEST_M + 10 and abs(x) < 0.6 * z + 3 and not tall:
            found.append(_prop(kind, x, z, place, camera, own))
    return sorted(found, key=lambda prop: -prop.z)


def _prop(kind: str, x: float, z: float, place: Place, camera: Camera, rng: Generator) -> Prop:
    foot, m = camera.point(x, 0.0, z), camera.scale(z)
    if kind == "tree":
        height = float(rng.uniform(4.0, 7.0))
        shapes = _tree(foot, m, height, place.palette.leaves, rng)
    elif kind == "lamp":
        height = 5.2
        shapes = _lamp(foot, m)
    elif kind == "bicycle":
        height = 1.05
        pose = Pose(x=x, z=z, heading=place.road.heading + float(rng.uniform(-0.3, 0.3)), travelled_m=0.0)
        shapes = bicycle(camera, pose, hsv(float(rng.random()), 0.5, 0.5))
    else:
        height, shapes_of = SMALL[kind]
        hue, saturation, value = rng.uniform((0.0, 0.1, 0.25), (1.0, 0.7, 0.7)).tolist()
        colour = place.palette.leaves if kind == "bush" else hsv(hue, saturation, value)
        shapes = shapes_of(foot, m, colour)
    return Prop(kind=kind, x=x, z=z, height_m=height, shapes=tuple(shapes))


def _block(foot: Point, m: float, width: float, low: float, high: float, colour: Colour) -> Shape:
    x, y = foot
    half = width * m / 2
    return Shape(
        ((x - half, y - low * m), (x + half, y - low * m), (x + half, y - high * m), (x - half, y - high * m)), colour
    )


def _tree(foot: Point, m: float, height: float, leaves: Colour, rng: Generator) -> list[Shape]:
    x, y = foot
    trunk: Colour = (84, 66, 52)
    shapes = [limb(foot, (x, y - 0.55 * height * m), 0.3 * m, trunk)]
    for k in range(9):
        angle, reach = 2.4 * k, 0.2 * height * math.sqrt(k / 9)
        centre = (x + reach * m * math.cos(angle), y - (0.72 * height + 0.8 * reach * math.sin(angle)) * m)
        size = float(rng.uniform(0.1, 0.16)) * height * m
        light = 1.0 + 0.25 * math.sin(angle) + float(rng.uniform(-0.1, 0.1))
        shapes.append(disc(centre, size, size * 0.85, shade(leaves, light)))
    return shapes


def _lamp(foot: Point, m: float) -> list[Shape]:
    x, y = foot
    pole: Colour = (92, 96, 100)
    top = (x, y - 5.0 * m)
    return [
        limb(foot, (x, y - 0.8 * m), 0.2 * m, pole),
        limb(foot, top, 0.12 * m, pole),
        limb(top, (x + 0.7 * m, y - 5.1 * m), 0.1 * m, pole),
        disc((x + 0.75 * m, y - 5.05 * m), 0.28 * m, 0.12 * m, (222, 220, 206)),
    ]


def _bin(foot: Point, m: float, colour: Colour) -> list[Shape]:
    x, y = foot
    lid = disc((x, y - 1.05 * m), 0.33 * m, 0.12 * m, shade(colour, 0.7))
    return [_block(foot, m, 0.6, 0.0, 1.05, colour), lid]


def _bollard(foot: Point, m: float, _: Colour) -> list[Shape]:
    return [_block(foot, m, 0.2, 0, 0.95, (70, 72, 74)), _block(foot, m, 0.2, 0.7, 0.85, (220, 216, 206))]


def _post_box(foot: Point, m: float, colour: Colour) -> list[Shape]:
    """Of a person's size and outline, so that outline alone does not make a pedestrian."""
    x, y = foot
    cap = disc((x, y - 1.5 * m), 0.24 * m, 0.2 * m, shade(colour, 0.9))
    slot = _block(foot, m, 0.3, 1.2, 1.28, (30, 30, 32))
    return [_block(foot, m, 0.44, 0, 1.5, colour), cap, slot, _block(foot, m, 0.5, 0, 0.15, (40, 40, 42))]


def _sign(foot: Point, m: float, colour: Colour) -> list[Shape]:
    x, y = foot
    face: Colour = (190, 44, 46) if colour[0] > colour[2] else (48, 84, 160)
    plates = [disc((x, y - 2.3 * m), r * m, r * m, c) for r, c in ((0.34, face), (0.2, (232, 230, 224)))]
    return [limb(foot, (x, y - 2.2 * m), 0.09 * m, (120, 122, 126)), *plates]


def _bench(foot: Point, m: float, _: Colour) -> list[Shape]:
    x, y = foot
    wood: Colour = (120, 88, 60)
    legs = [limb((x + d * m, y), (x + d * m, y - 0.45 * m), 0.09 * m, (50, 50, 52)) for d in (-0.7, 0.7)]
    return [*legs, _block(foot, m, 1.7, 0.4, 0.5, wood), _block(foot, m, 1.7, 0.62, 0.9, shade(wood, 0.85))]


def _bush(foot: Point, m: float, leaves: Colour) -> list[Shape]:
    x, y = foot
    parts = ((-0.5, 0.4, 0.8), (0.5, 0.4, 0.9), (0.0, 0.65, 1.15), (-0.2, 0.3, 0.75), (0.3, 0.35, 1.0))
    return [disc((x + dx * m, y - dy * m), 0.45 * m, 0.4 * m, shade(leaves, t)) for dx, dy, t in parts]


def _hydrant(foot: Point, m: float, colour: Colour) -> list[Shape]:
    x, y = foot
    cap = disc((x, y - 0.8 * m), 0.16 * m, 0.16 * m, shade(colour, 1.1))
    return [_block(foot, m, 0.28, 0, 0.8, colour), cap, _block(foot, m, 0.5, 0.45, 0.6, shade(colour, 0.8))]


SMALL: Mapping[str, tuple[float, Callable[[Point, float, Colour], list[Shape]]]] = {
    "bin": (1.1, _bin),
    "bollard": (1.0, _bollard),
    "post box": (1.7, _post_box),
    "sign": (2.6, _sign),
    "bench": (0.9, _bench),
    "bush": (1.1, _bush),
    "hydrant": (0.9, _hydrant),
}
"""Height in metres and shapes from foot point, pixels a metre and colour."""
