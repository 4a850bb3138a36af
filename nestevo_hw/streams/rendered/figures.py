"""Pedestrians, cyclists and cars as shapes seen by a camera."""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from nestevo_hw.streams.rendered.camera import Camera, Colour, Point, Shape, disc, limb, shade

PEDESTRIAN, CAR, CYCLIST = 1, 2, 3
TYRE: Colour = (28, 28, 30)
GLASS: Colour = (52, 64, 76)

# Length, width, height, waist (all metres) and the cabin's foot and roof as shares of the length, rear to front.
CAR_BODIES = (
    (4.4, 1.80, 1.45, 0.86, 0.08, 0.76, 0.24, 0.58),  # saloon
    (3.9, 1.75, 1.50, 0.88, 0.01, 0.76, 0.07, 0.58),  # hatchback
    (4.6, 1.88, 1.72, 0.98, 0.01, 0.76, 0.05, 0.62),  # off-roader
    (5.0, 1.92, 2.15, 1.05, 0.00, 0.90, 0.01, 0.76),  # van
    (5.0, 1.88, 1.75, 0.98, 0.42, 0.80, 0.47, 0.66),  # pick-up
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one road user looks like; drawn once, it keeps its look while it is in view."""

    label: int
    body: Colour
    """Coat or car paint."""
    legs: Colour
    skin: Colour
    hair: Colour
    height_m: float
    """Of a person."""
    variant: int
    """0 to 4: body of a car, or what a person carries."""
    novel: bool = False
    """Something pre-training has not seen: umbrella, cargo box, roof load."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """Where one road user is at one moment."""

    x: float
    z: float
    heading: float
    """Direction of travel, radians from x towards z."""
    travelled_m: float
    """Drives the gait and the cranks."""


@dataclass(frozen=True, slots=True)
class _Frame:
    """Local axes of a posed figure: u forward, w to its left, v up; metres."""

    camera: Camera
    pose: Pose

    def at(self, u: float, w: float, v: float) -> Point:
        c, s = math.cos(self.pose.heading), math.sin(self.pose.heading)
        return self.camera.point(self.pose.x + u * c - w * s, v, self.pose.z + u * s + w * c)


def draw_figure(camera: Camera, look: Look, pose: Pose) -> list[Shape]:
    """Shapes of one road user, back to front, without its shadow."""
    if look.label == CAR:
        return _car(camera, look, pose)
    if look.label == CYCLIST:
        return [*bicycle(camera, pose, look.legs), *_rider(camera, look, pose)]
    return _pedestrian(camera, look, pose)


def _pedestrian(camera: Camera, look: Look, pose: Pose) -> list[Shape]:
    x0, y0 = camera.point(pose.x, 0.0, pose.z)
    m = camera.scale(pose.z) * look.height_m  # pixels for the whole body height
    side = abs(math.cos(pose.heading))
    forward = math.copysign(1.0, math.cos(pose.heading))
    phase = 2 * math.pi * pose.travelled_m / (0.8 * look.height_m)
    swing = math.sin(phase) * (0.06 + 0.13 * side)

    def at(dx: float, dy: float) -> Point:
        return x0 + dx * m, y0 - dy * m

    def leg(direction: float, colour: Colour) -> list[Shape]:
        spread = 0.04 * (1 - side) * direction
        lift = 0.05 * max(0.0, math.cos(phase) * direction)
        foot = at(direction * swing + spread, 0.03 + lift)
        knee = at(direction * swing * 0.5 + spread + 0.015 * forward * side, 0.26 + lift * 0.5)
        hip = at(spread, 0.5)
        toe = disc((foot[0] + 0.02 * m * forward * side, foot[1]), 0.045 * m, 0.028 * m, shade(colour, 0.4))
        return [toe, limb(hip, knee, 0.095 * m, colour), limb(knee, foot, 0.075 * m, colour)]

    def arm(direction: float, colour: Colour) -> list[Shape]:
        shoulder = at(direction * 0.115 * (1 - side), 0.79)
        hand = at(-direction * swing * 0.9 * side + direction * 0.14 * (1 - side), 0.47)
        return [limb(shoulder, hand, 0.058 * m, colour), disc(hand, 0.025 * m, 0.025 * m, look.skin)]

    shoulders, hips = 0.125 - 0.045 * side, 0.09 - 0.02 * side
    hem = 0.3 if look.variant == 1 else 0.46
    torso = [at(-shoulders, 0.82), at(shoulders, 0.82), at(hips * 1.1, hem), at(-hips * 1.1, hem)]
    shapes = arm(-1, shade(look.body, 0.75)) + leg(-1, shade(look.legs, 0.8)) + leg(1, look.legs)
    if look.variant == 2:  # rucksack, behind the back in side view
        pack = at(-0.1 * forward * side, 0.68)
        shapes.append(disc(pack, 0.075 * m, 0.12 * m, shade(look.legs, 1.3)))
    shapes += [Shape(torso, look.body), disc(at(0, 0.8), shoulders * m, 0.04 * m, look.body)]
    shapes += arm(1, shade(look.body, 0.85))
    shapes += [disc(at(0.012 * forward * side, 0.915), 0.058 * m, 0.072 * m, look.skin)]
    shapes += [disc(at(-0.012 * forward * side, 0.945), 0.06 * m, 0.05 * m, look.hair)]
    if look.variant == 3:  # shopping bag
        hand = at(0.11, 0.44)
        bag = [(hand[0] - 0.05 * m, hand[1]), (hand[0] + 0.05 * m, hand[1])]
        shapes.append(Shape([*bag, *((x, y + 0.14 * m) for x, y in reversed(bag))], shade(look.hair, 1.6)))
    if look.novel:
        dome = [at(0.3 * math.cos(a), 0.98 + 0.17 * math.sin(a)) for a in np.linspace(0, math.pi, 9).tolist()]
        shapes += [limb(at(0.06, 0.6), at(0.0, 1.1), 0.02 * m, TYRE), Shape(dome, look.legs)]
    return shapes


def bicycle(camera: Camera, pose: Pose, colour: Colour) -> list[Shape]:
    """A bicycle without a rider."""
    frame, m = _Frame(camera, pose), camera.scale(pose.z)
    angles = np.linspace(0, 2 * math.pi, 11).tolist()
    shapes: list[Shape] = []
    for hub in (-0.52, 0.52):
        rim = [frame.at(hub + 0.33 * math.cos(a), 0.0, 0.34 + 0.33 * math.sin(a)) for a in angles]
        shapes += [limb(a, b, 0.055 * m, TYRE) for a, b in itertools.pairwise(rim)]
    rear, front, pedal = frame.at(-0.52, 0, 0.34), frame.at(0.52, 0, 0.34), frame.at(-0.08, 0, 0.32)
    saddle, head, bar = frame.at(-0.25, 0, 0.9), frame.at(0.36, 0, 0.85), frame.at(0.38, 0, 1.02)
    tubes = ((rear, pedal), (pedal, saddle), (pedal, head), (saddle, head), (rear, saddle), (head, front), (head, bar))
    shapes += [limb(a, b, 0.06 * m, colour) for a, b in tubes]
    shapes.append(limb(frame.at(0.4, -0.26, 1.02), frame.at(0.4, 0.26, 1.02), 0.05 * m, TYRE))
    return shapes


def _rider(camera: Camera, look: Look, pose: Pose) -> list[Shape]:
    frame, m = _Frame(camera, pose), camera.scale(pose.z)
    size = look.height_m / 1.75
    crank = pose.travelled_m / 0.9
    shapes: list[Shape] = []
    shoulder_v, shoulder_u = 0.9 + 0.55 * size, 0.16

    def leg(direction: int) -> list[Shape]:
        angle = crank + (math.pi if direction < 0 else 0.0)
        foot = frame.at(-0.08 + 0.16 * math.cos(angle), 0.11 * direction, 0.32 + 0.16 * math.sin(angle))
        knee = frame.at(0.2 + 0.06 * math.cos(angle), 0.12 * direction, 0.68 + 0.12 * math.sin(angle))
        hip = frame.at(-0.22, 0.1 * direction, 0.95)
        colour = shade(look.legs, 1.0 if direction > 0 else 0.8)
        return [limb(hip, knee, 0.15 * m, colour), limb(knee, foot, 0.11 * m, colour)]

    def arm(direction: int) -> Shape:
        shoulder = frame.at(shoulder_u, 0.18 * direction, shoulder_v - 0.05)
        return limb(shoulder, frame.at(0.4, 0.22 * direction, 1.04), 0.1 * m, shade(look.body, 0.85))

    # The side that faces away from the camera first.
    away = 1 if math.cos(pose.heading) > 0 else -1
    shapes += [*leg(away), arm(away), *leg(-away)]
    back = [frame.at(-0.22, w, 0.92) for w in (-0.15, 0.15)]
    back += [frame.at(shoulder_u, w, shoulder_v) for w in (0.2, -0.2)]
    shapes.append(Shape(back, look.body))
    shapes.append(limb(frame.at(-0.22, 0, 0.92), frame.at(shoulder_u, 0, shoulder_v), 0.27 * m, look.body))
    shapes.append(arm(-away))
    head = frame.at(shoulder_u + 0.1, 0, shoulder_v + 0.17)
    shapes.append(disc(head, 0.105 * m, 0.13 * m, look.skin))
    helmet = look.legs if look.variant in (1, 3) else look.hair
    shapes.append(disc((head[0], head[1] - 0.06 * m), 0.12 * m, 0.085 * m, helmet))
    if look.novel:  # cargo box in front of the handlebar
        rim = [frame.at(0.45, -0.28, 0.95), frame.at(1.15, -0.28, 0.95), frame.at(1.15, 0.28, 0.95)]
        foot = [frame.at(1.1, 0.25, 0.35), frame.at(0.5, 0.25, 0.35)]
        shapes.append(Shape([rim[0], rim[1], foot[0], foot[1]], look.body))
        shapes.append(Shape([rim[1], rim[2], foot[0], frame.at(1.1, -0.25, 0.35)], shade(look.body, 0.8)))
    return shapes


def _inset(quad: list[Point], left: float, right: float, low: float, high: float) -> list[Point]:
    """Part of a quad (foot left, foot right, top right, top left) by shares of its sides."""
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = quad

    def at(s: float, t: float) -> Point:
        x = (1 - t) * ((1 - s) * ax + s * bx) + t * ((1 - s) * dx + s * cx)
        y = (1 - t) * ((1 - s) * ay + s * by) + t * ((1 - s) * dy + s * cy)
        return x, y

    return [at(left, low), at(right, low), at(right, high), at(left, high)]


@dataclass(frozen=True, slots=True)
class _Frustum:
    """A convex block of a car: a rectangle at the foot and one at the top; metres in the car's axes."""

    foot_u: tuple[float, float]
    top_u: tuple[float, float]
    foot_w: float
    top_w: float
    v: tuple[float, float]

    def faces(self, frame: _Frame, eye: tuple[float, float, float]) -> dict[str, list[Point]]:
        """Faces that the camera at `eye` (u, w, v) sees: foot left, foot right, top right, top left."""
        (a0, a1), (b0, b1), (v0, v1) = self.foot_u, self.top_u, self.v
        rise, u, w, v = v1 - v0, *eye
        found: dict[str, list[Point]] = {}

        def quad(*corners: tuple[float, float, float]) -> list[Point]:
            return [frame.at(*c) for c in corners]

        fw, tw = self.foot_w, self.top_w
        if v > v1:
            found["top"] = quad((b0, tw, v1), (b0, -tw, v1), (b1, -tw, v1), (b1, tw, v1))
        for sign, name in ((1, "left"), (-1, "right")):
            if (sign * w - fw) * rise + (v - v0) * (fw - tw) > 0:
                found[name] = quad((a0, sign * fw, v0), (a1, sign * fw, v0), (b1, sign * tw, v1), (b0, sign * tw, v1))
        if (u - a1) * rise + (v - v0) * (a1 - b1) > 0:
            found["front"] = quad((a1, -fw, v0), (a1, fw, v0), (b1, tw, v1), (b1, -tw, v1))
        if (a0 - u) * rise + (v - v0) * (b0 - a0) > 0:
            found["rear"] = quad((a0, -fw, v0), (a0, fw, v0), (b0, tw, v1), (b0, -tw, v1))
        return found


FACE_SHADE = {"top": 1.12, "left": 0.92, "right": 0.92, "front": 0.8, "rear": 0.78}


def car_eye(camera: Camera, pose: Pose) -> tuple[float, float, float]:
    """Position of the camera in the car's axes (u, w, v), metres."""
    c, s = math.cos(pose.heading), math.sin(pose.heading)
    return -pose.x * c - pose.z * s, pose.x * s - pose.z * c, camera.height_m


def _car(camera: Camera, look: Look, pose: Pose) -> list[Shape]:
    length, width, height, waist, c0, c1, r0, r1 = CAR_BODIES[look.variant]
    frame, eye = _Frame(camera, pose), car_eye(camera, pose)
    back, half = -length / 2, width / 2
    body = _Frustum((back, -back), (back + 0.05, -back - 0.12), half, half - 0.04, (0.24, waist))
    cabin = _Frustum(
        (back + c0 * length, back + c1 * length),
        (back + r0 * length, back + r1 * length),
        half - 0.05,
        half - 0.2,
        (waist, height),
    )
    shapes: list[Shape] = []
    body_faces, cabin_faces = body.faces(frame, eye), cabin.faces(frame, eye)
    for name, quad in body_faces.items():
        shapes.append(Shape(quad, shade(look.body, FACE_SHADE[name])))
        if name in ("front", "rear"):
            shapes += _ends(quad, name)
        elif name != "top":
            shapes.append(Shape(_inset(quad, 0.0, 1.0, 0.0, 0.16), shade(look.body, 0.5)))
            shapes += _wheels(frame, length, half if name == "left" else -half)
    for name, quad in cabin_faces.items():
        shapes.append(Shape(quad, shade(look.body, FACE_SHADE[name] * 1.03)))
        if name in ("front", "rear"):
            shapes.append(Shape(_inset(quad, 0.06, 0.94, 0.1, 0.9), GLASS))
        elif name != "top":
            closed = look.variant == 3  # a delivery van has no rear side windows
            spans = ((0.72, 0.95),) if closed else ((0.07, 0.46), (0.52, 0.93))
            shapes += [Shape(_inset(quad, a, b, 0.12, 0.86), GLASS) for a, b in spans]
    if look.novel:
        box = _Frustum((-0.7, 0.6), (-0.65, 0.5), half - 0.3, half - 0.35, (height, height + 0.4))
        shapes += [Shape(q, shade((90, 88, 84), FACE_SHADE[n])) for n, q in box.faces(frame, eye).items()]
    return shapes


def _ends(quad: list[Point], name: str) -> list[Shape]:
    lamp: Colour = (244, 240, 214) if name == "front" else (190, 28, 30)
    lamps = [Shape(_inset(quad, a, a + 0.2, 0.52, 0.78), lamp) for a in (0.03, 0.77)]
    bumper = Shape(_inset(quad, 0.0, 1.0, 0.0, 0.22), (44, 44, 46))
    middle: Colour = (40, 42, 46) if name == "front" else (214, 212, 200)
    return [bumper, *lamps, Shape(_inset(quad, 0.32, 0.68, 0.3, 0.55), middle)]


def _wheels(frame: _Frame, length: float, side: float) -> list[Shape]:
    angles = np.linspace(0, 2 * math.pi, 12, endpoint=False).tolist()
    shapes: list[Shape] = []
    for hub in (-0.31 * length, 0.31 * length):
        for radius, colour in ((0.34, TYRE), (0.18, (150, 152, 156))):
            disc_points = [frame.at(hub + radius * math.cos(a), side, 0.34 + radius * math.sin(a)) for a in angles]
            shapes.append(Shape(disc_points, colour))
    return shapes
