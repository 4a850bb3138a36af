"""What stands still: sky, ground, road markings and buildings of a place, painted once."""

import math

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from nestevo_hw.base.seeding import numpy_generator
from nestevo_hw.streams.rendered.camera import Camera, Colour, disc, shade
from nestevo_hw.streams.rendered.place import SIDE_ROAD_M, Place, Road, World

FAR_M = 160.0


def paint_background(place: Place, camera: Camera) -> Image.Image:
    """The empty place, without street furniture.

    Args:
        place: what to paint.
        camera: the place's camera, or a scaled one.
    """
    rng = numpy_generator(place.seed, "background", place.name)
    image = Image.new("RGB", (camera.width_px, camera.height_px), place.palette.ground)
    draw = ImageDraw.Draw(image, "RGBA")
    _sky(draw, place, camera, rng)
    _ground(draw, place, camera, rng)
    image = _textured(image, place, camera, rng)
    draw = ImageDraw.Draw(image, "RGBA")
    _markings(draw, place, camera)
    _buildings(draw, place, camera, rng)
    return image


def _sky(draw: ImageDraw.ImageDraw, place: Place, camera: Camera, rng: Generator) -> None:
    top, low = (np.array(c, float) for c in place.palette.sky)
    horizon = max(0, math.ceil(camera.horizon_px))
    for row in range(horizon):
        r, g, b = (top + (low - top) * row / max(horizon, 1)).round().astype(int).tolist()
        draw.line([(0, row), (camera.width_px, row)], fill=(r, g, b))
    unit = camera.height_px / 128
    for _ in range(int(rng.integers(0, 7))):
        x, y = rng.uniform(0, camera.width_px), rng.uniform(0, max(camera.horizon_px * 0.7, 1))
        for _ in range(4):
            puff = disc((x + rng.normal(0, 9) * unit, y + rng.normal(0, 1) * unit), 9 * unit, 2.4 * unit, (0, 0, 0))
            draw.ellipse(puff.points, fill=(248, 248, 250, 70))
    # Distant roofs and tree tops along the horizon.
    x = 0.0
    while x < camera.width_px:
        w, h = rng.uniform(5, 18) * unit, rng.uniform(2, 10) * unit
        haze = shade(place.palette.leaves, rng.uniform(1.1, 1.6)) if rng.random() < 0.6 else (150, 154, 160)
        box = [(x, camera.horizon_px - h), (x + w, camera.horizon_px + 2 * unit)]
        if rng.random() < 0.6:
            draw.ellipse([box[0], (x + w, camera.horizon_px + h)], fill=haze)
        else:
            draw.rectangle(box, fill=haze)
        x += w * rng.uniform(0.4, 0.9)


def _strip(
    draw: ImageDraw.ImageDraw,
    camera: Camera,
    road: Road,
    s: tuple[float, float],
    q: tuple[float, float],
    colour: tuple[int, ...],
) -> None:
    corners = [road.at(s[0], q[0]), road.at(s[1], q[0]), road.at(s[1], q[1]), road.at(s[0], q[1])]
    points = camera.polygon(corners)
    if points:
        draw.polygon(points, fill=colour)


def _ground(draw: ImageDraw.ImageDraw, place: Place, camera: Camera, rng: Generator) -> None:
    palette, road = place.palette, place.road
    draw.rectangle([(0, camera.horizon_px), (camera.width_px, camera.height_px)], fill=palette.ground)
    edge, walk = road.half_width_m, road.half_width_m + road.pavement_m
    whole = (-FAR_M, FAR_M)
    if place.style == "plaza":
        square = [(-60.0, 0.0, 1.6), (60.0, 0.0, 1.6), (60.0, 0.0, road.z), (-60.0, 0.0, road.z)]
        draw.polygon(camera.polygon(square), fill=shade(palette.paving, 0.94))
    elif place.style == "street":
        square = [(-60.0, 0.0, 1.6), (60.0, 0.0, 1.6), (60.0, 0.0, 10.8), (-60.0, 0.0, 10.8)]
        draw.polygon(camera.polygon(square), fill=shade(palette.paving, 0.9))
    for _ in range(14):  # worn patches and flower beds
        s, q = rng.uniform(-30, 30), rng.uniform(-20, 30)
        tone = shade(palette.ground, rng.uniform(0.8, 1.15))
        if place.style != "plaza" and abs(q) > walk:
            _strip(draw, camera, road, (s, s + rng.uniform(1, 7)), (q, q + rng.uniform(0.5, 3)), tone)
    _strip(draw, camera, road, whole, (-walk, walk), palette.paving)
    kerb = shade(palette.paving, 1.18)
    for side in (-1, 1):
        _strip(draw, camera, road, whole, (side * edge, side * (edge + 0.25)), kerb)
    if place.style == "crossing":
        s0 = place.zebra_s + SIDE_ROAD_M
        _strip(draw, camera, road, (s0 - 5.5, s0 + 5.5), whole, palette.paving)
        _strip(draw, camera, road, (s0 - 3.4, s0 + 3.4), whole, palette.asphalt)
    _strip(draw, camera, road, whole, (-edge, edge), palette.asphalt)
    for _ in range(9):  # repairs of the asphalt
        s, q = rng.uniform(-25, 25), rng.uniform(-edge, edge - 1)
        tone = shade(palette.asphalt, rng.uniform(0.72, 1.12))
        _strip(draw, camera, road, (s, s + rng.uniform(0.4, 4)), (q, q + rng.uniform(0.3, 1.0)), tone)


def _markings(draw: ImageDraw.ImageDraw, place: Place, camera: Camera) -> None:
    road, worn = place.road, (*place.palette.paint, 205)
    for s in np.arange(-60, 60, 5.0).tolist():
        _strip(draw, camera, road, (s, s + 2.4), (-0.09, 0.09), worn)
    for side in (-1, 1):
        lane = side * (road.half_width_m - 1.15)
        _strip(draw, camera, road, (-60, 60), (lane - 0.06, lane + 0.06), worn)
    for q in np.arange(-road.half_width_m + 0.3, road.half_width_m - 0.4, 0.95).tolist():
        _strip(draw, camera, road, (place.zebra_s - 1.5, place.zebra_s + 1.5), (q, q + 0.5), worn)


def _textured(image: Image.Image, place: Place, camera: Camera, rng: Generator) -> Image.Image:
    """Grain of ground and paving joints, in perspective; a faint grain everywhere."""
    pixels = np.asarray(image, np.float32)
    height, width = pixels.shape[:2]
    rows = np.arange(height, dtype=np.float32)[:, None] + 0.5
    columns = np.arange(width, dtype=np.float32)[None, :] + 0.5
    below = np.maximum(rows - camera.horizon_px, 0.5)
    z = camera.focal_px * camera.height_m / below
    x = (columns - width / 2) * z / camera.focal_px
    z = np.broadcast_to(z, x.shape)
    factor = np.ones_like(x)
    for cell_m, depth in ((0.25, 0.10), (1.1, 0.09), (4.0, 0.10)):
        grid = rng.normal(0, 1, (128, 128)).astype(np.float32)
        factor += depth * _smooth(grid, x / cell_m, z / cell_m) * np.clip(25 * cell_m / z, 0, 1)
    c, n = math.cos(place.road.heading), math.sin(place.road.heading)
    s = (x - place.road.x) * c + (z - place.road.z) * n
    q = -(x - place.road.x) * n + (z - place.road.z) * c
    paved = np.abs(q) > place.road.half_width_m
    if place.style != "plaza":
        paved &= np.abs(q) < place.road.half_width_m + place.road.pavement_m
    else:
        paved &= z < place.road.z + place.road.pavement_m
    slab = 0.9 if place.seed % 2 else 1.4
    joints = paved & ((np.mod(s, slab) < 0.07) | (np.mod(q, slab) < 0.07))
    factor -= 0.13 * joints * np.clip(22 / z, 0, 1)
    factor = np.where(rows > camera.horizon_px, factor, 1.0)
    factor += 0.012 * rng.normal(0, 1, factor.shape).astype(np.float32)
    return Image.fromarray(np.clip(pixels * factor[..., None], 0, 255).astype(np.uint8))


def _smooth(grid: NDArray[np.float32], u: NDArray[np.floating], v: NDArray[np.floating]) -> NDArray[np.float32]:
    """Value noise: bilinear samples of a periodic grid."""
    n = len(grid)
    iu, iv = np.floor(u).astype(int), np.floor(v).astype(int)
    fu, fv = u - iu, v - iv
    a, b = grid[iu % n, iv % n], grid[(iu + 1) % n, iv % n]
    c, d = grid[iu % n, (iv + 1) % n], grid[(iu + 1) % n, (iv + 1) % n]
    found: NDArray[np.float32] = (a * (1 - fu) + b * fu) * (1 - fv) + (c * (1 - fu) + d * fu) * fv
    return found


def _buildings(draw: ImageDraw.ImageDraw, place: Place, camera: Camera, rng: Generator) -> None:
    road = place.road
    walk = road.half_width_m + road.pavement_m
    steep = abs(math.sin(road.heading)) > 0.7
    blocks: list[tuple[float, list[World], float, Colour]] = []
    for side in (1, -1) if steep else (1,):
        s = -70.0
        while s < 70:
            length, gap = rng.uniform(6, 15), (rng.uniform(0, 7) if rng.random() < 0.5 else 0.2)
            setback, height = rng.uniform(1.0, 4.5), rng.uniform(4, 13)
            q = side * (walk + setback)
            foot = [road.at(s, q), road.at(s + length, q), road.at(s + length, q + side * 9), road.at(s, q + side * 9)]
            wall = place.palette.walls[int(rng.integers(len(place.palette.walls)))]
            blocked = place.style == "crossing" and s - 6 < place.zebra_s + SIDE_ROAD_M < s + length + 6
            if min(p[2] for p in foot) > 3.0 and rng.random() < 0.85 and not blocked:
                blocks.append((sum(p[2] for p in foot), foot, height, wall))
            s += length + gap
    for _, foot, height, wall in sorted(blocks, key=lambda block: -block[0]):
        _building(draw, camera, foot, height, wall, rng)


def _building(
    draw: ImageDraw.ImageDraw, camera: Camera, foot: list[World], height: float, wall: Colour, rng: Generator
) -> None:
    floors = max(1, round(height / 3.0))
    glass = shade((70, 82, 98), rng.uniform(0.7, 1.5))
    roof = shade(wall, 0.55) if rng.random() < 0.6 else (128, 72, 58)
    order = sorted(range(4), key=lambda k: -(foot[k][2] + foot[(k + 1) % 4][2]))
    for rank, k in enumerate(order):
        a, b = foot[k], foot[(k + 1) % 4]

        def at(t: float, y: float, a: World = a, b: World = b) -> World:
            return a[0] + t * (b[0] - a[0]), y, a[2] + t * (b[2] - a[2])

        points = camera.polygon([at(0, 0), at(1, 0), at(1, height), at(0, height)])
        if not points:
            continue
        draw.polygon(points, fill=shade(wall, 1.0 if rank == 3 else 0.78))
        if rank < 2:
            continue
        bays = max(2, round(math.hypot(b[0] - a[0], b[2] - a[2]) / 2.4))
        for bay in range(bays):
            for floor in range(floors):
                low, high = floor * 3.0 + 0.9, floor * 3.0 + 2.3
                if floor == 0 and bay == bays // 2:
                    low, high = 0.0, 2.1
                pane = [at((bay + t) / bays, y) for t, y in ((0.25, low), (0.75, low), (0.75, high), (0.25, high))]
                if panes := camera.polygon(pane):
                    draw.polygon(panes, fill=shade(glass, rng.uniform(0.75, 1.25)))
        band = camera.polygon([at(0, height - 0.5), at(1, height - 0.5), at(1, height), at(0, height)])
        if band:
            draw.polygon(band, fill=roof)
