"""One place rendered at one moment: painter's order, shadows, lamp light and boxes."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from nestevo_hw.streams.frame import Annotation
from nestevo_hw.streams.rendered.camera import Camera, Point, Shape, bounds, paint, silhouette
from nestevo_hw.streams.rendered.figures import CAR, CAR_BODIES, CYCLIST, draw_figure
from nestevo_hw.streams.rendered.furniture import Prop, make_furniture
from nestevo_hw.streams.rendered.place import Place
from nestevo_hw.streams.rendered.scenery import paint_background
from nestevo_hw.streams.rendered.traffic import Actor, actors_at, make_paths

OVERSAMPLING = 2
SHOWN_SHARE = 0.25
"""An object of which less than this is visible becomes an ignore region."""
HIDDEN_SHARE = 0.03
"""An object of which less than this is visible has no box."""
LEAST_PX = 7.0
"""An object whose longer side is shorter becomes an ignore region."""
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """One frame before weather."""

    pixels: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    truth: Annotation
    lights: NDArray[np.float32] | None
    """(H, W) lamp light in 0..1, if it was asked for."""


class Scene:
    """Renderer of one place; the background is painted once."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.paths = make_paths(place)
        self._camera = place.camera.scaled(OVERSAMPLING)
        self._background = paint_background(place, self._camera)
        self._props = make_furniture(place, self._camera)
        self._prop_masks = [_mask(prop.shapes, place.camera) for prop in self._props]
        for prop in self._props:
            _cast_shadow(self._background, self._camera, place, _prop_shadow(prop), 46)
        self._lamp_light = _lamp_light(place, self._props)

    def render(self, time_s: float, *, novelty: float = 0.0, lit: bool = False) -> Rendered:
        """The place at one moment.

        Args:
            time_s: since the first frame.
            novelty: 0 to 1, how far the road users leave the place's own mix.
            lit: compute lamp light and turn headlights on.
        """
        return self.compose(actors_at(self.place, self.paths, time_s, novelty), lit=lit)

    def compose(self, actors: list[Actor], *, shadows: bool = True, lit: bool = False) -> Rendered:
        """The place with the given road users, farthest first."""
        image = self._background.copy()
        drawn = [(actor.pose.z, draw_figure(self._camera, actor.look, actor.pose)) for actor in actors]
        if shadows:
            for actor in actors:
                _cast_shadow(image, self._camera, self.place, _actor_shadow(actor), 88)
        layers = drawn + [(prop.z, list(prop.shapes)) for prop in self._props]
        draw = ImageDraw.Draw(image)
        for _, shapes in sorted(layers, key=lambda layer: -layer[0]):
            paint(draw, shapes)
        return Rendered(
            pixels=np.asarray(image.reduce(OVERSAMPLING)),
            truth=self._annotate(actors, [shapes for _, shapes in drawn]),
            lights=self._lights(actors) if lit else None,
        )

    def _annotate(self, actors: list[Actor], drawn: list[list[Shape]]) -> Annotation:
        """Boxes of what can be seen, found from near to far with a mask of what is already covered."""
        camera = self.place.camera
        items: list[tuple[float, int | None, NDArray[np.bool_]]] = [
            (prop.z, None, mask) for prop, mask in zip(self._props, self._prop_masks, strict=True)
        ]
        items += [(a.pose.z, k, _mask(drawn[k], camera)) for k, a in enumerate(actors)]
        covered = np.zeros((camera.height_px, camera.width_px), bool)
        found: list[tuple[Box, int, bool]] = []
        for _, index, mask in sorted(items, key=lambda item: item[0]):
            if index is not None:
                box, inside = _clipped(bounds(drawn[index]), mask)
                shown = float((mask & ~covered).sum()) / max(int(mask.sum()), 1) * inside
                if shown > HIDDEN_SHARE:
                    small = max(box[2] - box[0], box[3] - box[1]) < LEAST_PX
                    found.append((box, actors[index].look.label, small or shown < SHOWN_SHARE))
            covered |= mask
        return Annotation(
            boxes=torch.tensor([box for box, _, _ in found], dtype=torch.float32).reshape(-1, 4),
            labels=torch.tensor([label for _, label, _ in found], dtype=torch.int64),
            ignore=torch.tensor([ignored for _, _, ignored in found], dtype=torch.bool),
        )

    def _lights(self, actors: list[Actor]) -> NDArray[np.float32]:
        camera = self.place.camera
        beams = Image.new("L", (camera.width_px // 2, camera.height_px // 2))
        draw = ImageDraw.Draw(beams)
        for actor in actors:
            if actor.look.label in (CAR, CYCLIST):
                _headlight(draw, camera, actor)
        # Down and up again softens the edge of each beam.
        soft = beams.reduce(2).resize((camera.width_px, camera.height_px), Image.Resampling.BICUBIC)
        light = np.maximum(self._lamp_light, np.asarray(soft, np.float32) / 255)
        for actor in actors:
            if actor.look.label in (CAR, CYCLIST):
                _bulbs(light, camera, actor)
        return light


def _mask(shapes: "tuple[Shape, ...] | list[Shape]", camera: Camera) -> NDArray[np.bool_]:
    image = Image.new("L", (camera.width_px, camera.height_px))
    silhouette(ImageDraw.Draw(image), shapes, 1 / OVERSAMPLING)
    return np.asarray(image) > 0


def _clipped(raw: Box, mask: NDArray[np.bool_]) -> tuple[Box, float]:
    """Box of the part inside the frame in pixels, from oversampled bounds, and that part's share."""
    height, width = mask.shape
    x1, y1, x2, y2 = (v / OVERSAMPLING for v in raw)
    box = (max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height)))
    inside = max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0) / max((x2 - x1) * (y2 - y1), 1e-6)
    if inside < 1.0 and mask.any():
        # What the frame cuts off may have held the object's top or bottom.
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        box = (
            max(box[0], float(columns[0])),
            max(box[1], float(rows[0])),
            min(box[2], float(columns[-1] + 1)),
            min(box[3], float(rows[-1] + 1)),
        )
    return box, inside


def _actor_shadow(actor: Actor) -> tuple[float, float, float, float, float, float]:
    """x, z, heading, half length, half width and height of what casts the shadow."""
    pose, look = actor.pose, actor.look
    if look.label == CAR:
        length, width, height = CAR_BODIES[look.variant][:3]
        return pose.x, pose.z, pose.heading, length / 2, width / 2, height * 0.8
    half = 0.75 if look.label == CYCLIST else 0.2
    return pose.x, pose.z, pose.heading, half, 0.2, look.height_m * 0.9


def _prop_shadow(prop: Prop) -> tuple[float, float, float, float, float, float]:
    half = {"tree": 1.0, "lamp": 0.08, "bicycle": 0.7, "bench": 0.8, "bush": 0.8, "sign": 0.1}.get(prop.kind, 0.25)
    return prop.x, prop.z, 0.0, half, min(half, 0.3), min(prop.height_m, 3.0)


def _cast_shadow(
    image: Image.Image,
    camera: Camera,
    place: Place,
    caster: tuple[float, float, float, float, float, float],
    darkness: int,
) -> None:
    """Darken the ground footprint swept along the sun's direction."""
    x, z, heading, length, width, height = caster
    c, s = math.cos(heading), math.sin(heading)
    foot = [(x + u * c - w * s, z + u * s + w * c) for u, w in
            ((length, width), (-length, width), (-length, -width), (length, -width))]  # fmt: skip
    dx, dz = place.sun[0] * height, place.sun[1] * height
    swept = foot + [(px + dx, pz + dz) for px, pz in foot]
    if min(pz for _, pz in swept) > 2.0:
        hull = _hull([camera.point(px, 0.0, pz) for px, pz in swept])
        ImageDraw.Draw(image, "RGBA").polygon(hull, fill=(12, 14, 26, darkness))


def _hull(points: list[Point]) -> list[Point]:
    """Convex hull (Andrew's monotone chain)."""
    ordered = sorted(points)

    def chain(sequence: list[Point]) -> list[Point]:
        found: list[Point] = []
        for p in sequence:
            while len(found) > 1:
                (ax, ay), (bx, by) = found[-2:]
                if (bx - ax) * (p[1] - ay) - (by - ay) * (p[0] - ax) > 0:
                    break
                found.pop()
            found.append(p)
        return found[:-1]

    return chain(ordered) + chain(ordered[::-1])


def _lamp_light(place: Place, props: list[Prop]) -> NDArray[np.float32]:
    """(H, W) light of all street lamps on the ground and what stands there."""
    camera = place.camera
    rows = np.arange(camera.height_px, dtype=np.float32)[:, None] + 0.5
    columns = np.arange(camera.width_px, dtype=np.float32)[None, :] + 0.5
    light = np.zeros((camera.height_px, camera.width_px), np.float32)
    for prop in props:
        if prop.kind == "lamp":
            m = camera.scale(prop.z)
            x, y = camera.point(prop.x, 0.6, prop.z)
            pool = np.exp(-(((columns - x) / (3.4 * m)) ** 2) - ((rows - y) / (2.0 * m)) ** 2)
            light = np.maximum(light, 0.85 * pool.astype(np.float32))
            x, y = camera.point(prop.x + 0.75, 5.05, prop.z)
            bulb = np.exp(-(((columns - x) / (0.45 * m)) ** 2) - ((rows - y) / (0.35 * m)) ** 2)
            light = np.maximum(light, (1.6 * bulb).astype(np.float32))
    return light


def _headlight(draw: ImageDraw.ImageDraw, camera: Camera, actor: Actor) -> None:
    """The beam on the ground ahead of a vehicle, at half resolution."""
    pose = actor.pose
    c, s = math.cos(pose.heading), math.sin(pose.heading)
    reach, width = (7.0, 1.6) if actor.look.label == CAR else (3.0, 0.5)
    ahead = CAR_BODIES[actor.look.variant][0] / 2 if actor.look.label == CAR else 0.6
    corners = ((ahead, -0.7), (ahead + reach, -width), (ahead + reach, width), (ahead, 0.7))
    world = [(pose.x + u * c - w * s, 0.0, pose.z + u * s + w * c) for u, w in corners]
    points = [(x / 2, y / 2) for x, y in camera.polygon(world)]
    if points:
        draw.polygon(points, fill=190)


def _bulbs(light: NDArray[np.float32], camera: Camera, actor: Actor) -> None:
    """Glare of the lamps at a vehicle's front, if they face the camera, and its tail lights."""
    pose = actor.pose
    c, s = math.cos(pose.heading), math.sin(pose.heading)
    half = CAR_BODIES[actor.look.variant][0] / 2 if actor.look.label == CAR else 0.6
    lamps = ((half, -0.65), (half, 0.65)) if actor.look.label == CAR else ((half, 0.0),)
    if s > 0.3:
        return
    for u, w in lamps:
        x, y = camera.point(pose.x + u * c - w * s, 0.68, pose.z + u * s + w * c)
        radius = max(0.35 * camera.scale(pose.z), 1.5)
        x1, y1, x2, y2 = (round(v) for v in (x - 2 * radius, y - 2 * radius, x + 2 * radius + 1, y + 2 * radius + 1))
        part = light[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)]
        if part.size:
            rows = np.arange(max(y1, 0), max(y1, 0) + part.shape[0])[:, None] + 0.5 - y
            columns = np.arange(max(x1, 0), max(x1, 0) + part.shape[1])[None, :] + 0.5 - x
            glow = 1.9 * np.exp(-(rows**2 + columns**2) / radius**2)
            np.maximum(part, glow.astype(np.float32), out=part)
