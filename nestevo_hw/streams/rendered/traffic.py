"""Who is where at which frame: road users on fixed paths, a pure function of time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.random import Generator

from nestevo_hw.base.seeding import numpy_generator
from nestevo_hw.streams.rendered.camera import Camera, Colour
from nestevo_hw.streams.rendered.figures import CAR, CYCLIST, PEDESTRIAN, Look, Pose
from nestevo_hw.streams.rendered.place import SIDE_ROAD_M, Place, Road, hsv

SPEEDS_M_S = {PEDESTRIAN: 1.25, CAR: 6.0, CYCLIST: 3.6}
PARKED_S = 240.0
"""A parking bay keeps its car this long."""
NEAREST_M, FARTHEST_M = 7.5, 46.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A straight line on which road users of one class follow one another."""

    key: int
    label: int
    start: tuple[float, float]
    """x and z, metres."""
    heading: float
    length_m: float
    spread_m: float
    """Largest sideways offset from the line."""
    speed_m_s: float
    period_s: float
    """Between two chances to enter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """One road user at one moment."""

    look: Look
    pose: Pose


def make_paths(place: Place) -> tuple[Path, ...]:
    """All paths of a place; their traffic adds up to its busyness and mix."""
    rng = numpy_generator(place.seed, "paths", place.name)
    lines = [(label, s, q, spread) for label, s, q, spread in _lines(place, rng)]
    clipped = [
        (label, clip, spread) for label, a, b, spread in lines if (clip := _visible(place.camera, a, b)) is not None
    ]
    paths = []
    for key, (label, (x, z, heading, length), spread) in enumerate(clipped):
        share = place.mix[label - 1] / sum(1 for other, _, _ in clipped if other == label)
        speed = SPEEDS_M_S[label] * rng.uniform(0.85, 1.15)
        # Little's law, for entries that happen with a probability of one half.
        period = 0.5 * (length / speed) / (share * place.busyness)
        paths.append(
            Path(
                key=key,
                label=label,
                start=(x, z),
                heading=heading,
                length_m=length,
                spread_m=spread,
                speed_m_s=speed,
                period_s=period,
            )
        )
    return tuple(paths)


Ground = tuple[float, float]


def _lines(place: Place, rng: Generator) -> Iterator[tuple[int, Ground, Ground, float]]:
    """Label, first and last point (x, z) and sideways spread of each line of movement."""
    road = place.road

    def along(label: int, q: float, direction: int, spread: float) -> tuple[int, Ground, Ground, float]:
        return label, _xz(road, -60.0 * direction, q), _xz(road, 60.0 * direction, q), spread

    def across(label: int, s: float, direction: int, spread: float) -> tuple[int, Ground, Ground, float]:
        near, far = (-60.0, 60.0) if label != PEDESTRIAN else (-kerb - 5.0, kerb + road.pavement_m)
        ends = _xz(road, s, near), _xz(road, s, far)
        return label, ends[direction < 0], ends[direction > 0], spread

    lane, kerb = road.half_width_m / 2, road.half_width_m
    for direction in (1, -1):
        yield along(CAR, -direction * lane, direction, 0.25)
        yield along(CYCLIST, -direction * (kerb - 0.6), direction, 0.3)
        yield along(CYCLIST, -direction * (kerb + 0.8), direction, 0.4)
        for side in (1, -1):
            yield along(PEDESTRIAN, side * (kerb + road.pavement_m / 2), direction, road.pavement_m / 2 - 0.3)
        yield across(PEDESTRIAN, place.zebra_s, direction, 1.2)
        if place.style == "crossing":
            yield across(CAR, place.zebra_s + SIDE_ROAD_M + 1.6 * direction, direction, 0.2)
            yield across(CYCLIST, place.zebra_s + SIDE_ROAD_M + 2.9 * direction, direction, 0.2)
    if place.style in ("plaza", "diagonal", "street"):
        for _ in range(3):
            z, slope = rng.uniform(9.5, 19), rng.uniform(-6, 6)
            ends = (-30.0, z - slope), (30.0, z + slope)
            for a, b in (ends, ends[::-1]):
                if place.style == "plaza":
                    yield PEDESTRIAN, a, b, 1.5
                    yield CYCLIST, a, b, 1.5
                elif place.style == "street":
                    yield PEDESTRIAN, (a[0], 9.5), (b[0], 9.5), 1.0


def _xz(road: Road, s: float, q: float) -> Ground:
    x, _, z = road.at(s, q)
    return x, z


def _visible(camera: Camera, a: Ground, b: Ground) -> tuple[float, float, float, float] | None:
    """Start x, start z, heading and length of the part of a line near the view, or None."""
    t = np.linspace(0, 1, 481)
    x, z = a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])
    inside = (z > NEAREST_M) & (z < FARTHEST_M)
    column = np.abs(x) * camera.focal_px / np.maximum(z, 1.0)
    row = camera.horizon_px + camera.height_m * camera.focal_px / np.maximum(z, 1.0)
    inside &= (column < 0.5 * camera.width_px + 3.0 * camera.focal_px / np.maximum(z, 1.0)) & (
        row < camera.height_px * 1.08
    )
    found = np.flatnonzero(inside)
    if len(found) < 8:
        return None
    first, last = found[0], found[-1]
    dx, dz = float(x[last] - x[first]), float(z[last] - z[first])
    return float(x[first]), float(z[first]), math.atan2(dz, dx), math.hypot(dx, dz)


def actors_at(place: Place, paths: tuple[Path, ...], time_s: float, novelty: float) -> list[Actor]:
    """Road users at one moment, farthest first.

    Args:
        place: the place.
        paths: of this place.
        time_s: since the stream's first frame; may be any value.
        novelty: 0 to 1, how far the mix of classes and looks leaves the place's own.
    """
    actors = [actor for path in paths for actor in _on_path(place, path, time_s, novelty)]
    actors += _parked(place, time_s, novelty)
    return sorted(actors, key=lambda actor: -actor.pose.z)


def _on_path(place: Place, path: Path, time_s: float, novelty: float) -> Iterator[Actor]:
    home = place.mix[path.label - 1]
    # The other mix swaps frequent and rare classes; the probability of an entry follows it.
    other = max(place.mix) + min(place.mix) - home
    chance = min(0.5 * ((1 - novelty) + novelty * other / home), 0.95)
    slowest = path.length_m / (path.speed_m_s * 0.8)
    first = math.floor((time_s - slowest) / path.period_s) - 1
    for slot in range(first, math.floor(time_s / path.period_s) + 1):
        entry = _entry(place.seed, place.name, path.key, path.label, slot)
        if entry.draw >= chance:
            continue
        travelled = path.speed_m_s * entry.pace * (time_s - (slot + entry.delay) * path.period_s)
        if 0 <= travelled <= path.length_m:
            offset = path.spread_m * entry.offset
            c, s = math.cos(path.heading), math.sin(path.heading)
            pose = Pose(
                x=path.start[0] + travelled * c - offset * s,
                z=path.start[1] + travelled * s + offset * c,
                heading=path.heading,
                travelled_m=travelled,
            )
            yield Actor(look=entry.look if entry.strange >= novelty else entry.novel, pose=pose)


def _parked(place: Place, time_s: float, novelty: float) -> Iterator[Actor]:
    road = place.road
    for bay in range(3):
        s, epoch = -9.0 + 7.5 * bay, math.floor(time_s / PARKED_S + 0.37 * bay)
        entry = _entry(place.seed, place.name, 1000 + bay, CAR, epoch)
        if entry.draw >= 0.22 * place.mix[CAR - 1] / 0.33:
            continue
        x, _, z = road.at(s + entry.offset, road.half_width_m - 0.3)
        if z > NEAREST_M + 3:
            heading = road.heading + math.pi
            look = entry.look if entry.strange >= novelty else entry.novel
            yield Actor(look=look, pose=Pose(x=x, z=z, heading=heading, travelled_m=0.0))


@dataclass(frozen=True, slots=True)
class _Entry:
    draw: float
    delay: float
    pace: float
    offset: float
    strange: float
    look: Look
    novel: Look


@lru_cache(maxsize=4096)
def _entry(seed: int, place: str, path: int, label: int, slot: int) -> _Entry:
    """Everything random about one chance to enter a path."""
    rng = numpy_generator(seed, "entry", place, path, slot)
    draw, delay, pace, offset, strange = rng.random(5).tolist()
    look = _look(label, rng, novel=False)
    return _Entry(
        draw,
        0.7 * delay,
        1 + (0.05 if label == CAR else 0.15) * (2 * pace - 1),
        2 * offset - 1,
        strange,
        look,
        _look(label, rng, novel=True),
    )


SKINS = ((236, 198, 170), (216, 168, 132), (170, 120, 88), (112, 76, 56))
HAIR = ((34, 28, 26), (70, 48, 34), (128, 92, 56), (150, 146, 140), (190, 160, 110))


def _look(label: int, rng: Generator, *, novel: bool) -> Look:
    return Look(
        label=label,
        body=_paint(rng) if label == CAR else _colour(rng, plain=0.45),
        legs=_colour(rng, plain=0.7),
        skin=SKINS[int(rng.integers(len(SKINS)))],
        hair=HAIR[int(rng.integers(len(HAIR)))],
        height_m=float(rng.normal(1.72, 0.09)) if rng.random() > 0.12 else float(rng.uniform(1.1, 1.4)),
        variant=int(rng.integers(3, 5) if novel and label == CAR else rng.integers(5)),
        novel=novel,
    )


def _colour(rng: Generator, plain: float) -> Colour:
    """Greys with probability `plain`, so that many road users resemble the street."""
    if rng.random() < plain:
        return hsv(rng.uniform(0, 1), rng.uniform(0, 0.15), rng.uniform(0.12, 0.9))
    return hsv(rng.uniform(0, 1), rng.uniform(0.35, 0.85), rng.uniform(0.3, 0.85))


def _paint(rng: Generator) -> Colour:
    if rng.random() < 0.6:
        return _colour(rng, plain=1.0)
    hue = rng.choice((0.0, 0.02, 0.07, 0.14, 0.35, 0.55, 0.6, 0.64)) + rng.uniform(-0.02, 0.02)
    return hsv(float(hue), rng.uniform(0.4, 0.8), rng.uniform(0.3, 0.75))
