import dataclasses

import numpy as np
import pytest
import torch

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.streams.drift_kinds import WEATHER
from nestevo_hw.streams.frame import Stream
from nestevo_hw.streams.rendered.figures import CAR, CYCLIST, PEDESTRIAN
from nestevo_hw.streams.rendered.place import make_place
from nestevo_hw.streams.rendered.scene import LEAST_PX, OVERSAMPLING, Scene
from nestevo_hw.streams.rendered.synthetic import CLASSES, SyntheticStream, _scene
from nestevo_hw.streams.rendered.traffic import Actor, actors_at, make_paths
from nestevo_hw.streams.weather import DriftScript, DriftSegment

PLACES = ("campus", "downtown", "crossing", "suburb", "any other name")


def stream(place="campus", seed=3, **changes):
    return SyntheticStream(name="t", place=place, seed=seed, **changes)


def drifting(kind, strength, start=0):
    return DriftScript(segments=(DriftSegment(start=start, kind=kind, strength=strength),))


def equal(a, b):
    same = torch.equal(a.images, b.images)
    for x, y in zip(a.truth, b.truth, strict=True):
        same &= torch.equal(x.boxes, y.boxes) and torch.equal(x.labels, y.labels)
        same &= torch.equal(x.ignore, y.ignore)
    return same


def test_frames_do_not_depend_on_order_batch_or_cache():
    script = DriftScript(segments=(DriftSegment(start=20, kind="rain", strength=0.6),))
    forward = stream(drift=script).read([5, 30, 7, 1000])
    _scene.cache_clear()
    again = stream(drift=script)
    backward = [again.read([i]) for i in (1000, 7, 30, 5)][::-1]
    for position, single in enumerate(backward):
        assert torch.equal(forward.images[position], single.images[0])
        assert torch.equal(forward.truth[position].boxes, single.truth[0].boxes)


def test_seed_and_place_decide_the_scenery():
    base = stream().read([10]).images
    for other in (stream(seed=4), stream(place="market")):
        assert not torch.equal(base, other.read([10]).images)


def test_is_a_stream_of_the_promised_form():
    terminal: Stream = stream(size=(96, 192), fps=5.0)
    batch = terminal.read([0, 3])
    assert batch.images.shape == (2, 3, 96, 192)
    assert batch.images.dtype == torch.uint8
    assert terminal.classes == CLASSES == ("pedestrian", "car", "cyclist")
    assert terminal.read([]).images.shape == (0, 3, 96, 192)


def test_frame_rate_scales_time():
    """Frame 2 at 5 fps and frame 4 at 10 fps show the same moment."""
    a, b = stream(fps=5.0).read([2]).truth[0], stream(fps=10.0).read([4]).truth[0]
    assert torch.equal(a.boxes, b.boxes)


@pytest.mark.parametrize("place", PLACES)
def test_boxes_lie_inside_the_frame_and_are_not_tiny(place):
    batch = stream(place).read(range(0, 600, 15))
    for truth in batch.truth:
        x1, y1, x2, y2 = truth.boxes.unbind(1)
        assert ((x1 >= 0) & (y1 >= 0) & (x2 <= 160) & (y2 <= 128)).all()
        assert ((x2 > x1) & (y2 > y1)).all()
        counted = torch.maximum(x2 - x1, y2 - y1)[~truth.ignore]
        assert (counted >= LEAST_PX).all()
        assert ((truth.labels >= 1) & (truth.labels <= 3)).all()


def test_all_classes_occur_and_a_frame_holds_a_few_objects():
    counts = torch.zeros(4)
    frames = 0
    for place in PLACES:
        for truth in stream(place).read(range(0, 1200, 30)).truth:
            counts += torch.bincount(truth.labels[~truth.ignore], minlength=4)
            frames += 1
    assert 3 <= counts.sum() / frames <= 7
    assert (counts[1:] / counts.sum() > 0.12).all()


def bare_scene(place="campus"):
    """A scene without street furniture, so that nothing hides a lone object."""
    scene = Scene(make_place(place, 3, (128, 160)))
    scene._props, scene._prop_masks = [], []
    return scene


def some_actors(scene, label):
    place = scene.place
    found = {}
    for second in range(0, 400, 9):
        for actor in actors_at(place, make_paths(place), second, 0.5):
            if actor.look.label == label:
                found[(actor.look, round(actor.pose.z))] = actor
    return list(found.values())[:25]


@pytest.mark.parametrize("label", [PEDESTRIAN, CAR, CYCLIST])
def test_a_box_is_the_bounds_of_the_pixels_its_object_changes(label):
    """Oracle: render one object alone, without shadow, and compare with the empty background."""
    compared = 0
    for place in ("campus", "downtown"):
        scene = bare_scene(place)
        empty = scene.compose([], shadows=False).pixels.astype(int)
        for actor in some_actors(scene, label):
            rendered = scene.compose([actor], shadows=False)
            if not len(rendered.truth.labels):
                continue
            changed = np.abs(rendered.pixels.astype(int) - empty).max(2) > 0
            rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
            seen = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
            # One oversampled pixel of rounding, and thin or background-coloured edges, are all that may differ.
            assert rendered.truth.boxes[0].tolist() == pytest.approx(seen, abs=1 + 2 / OVERSAMPLING)
            assert rendered.truth.labels.tolist() == [label]
            compared += 1
    assert compared > 20


def test_what_hides_behind_a_van_becomes_ignored_or_unlabelled():
    scene = bare_scene()
    cars = some_actors(scene, CAR)
    van = Actor(
        look=dataclasses.replace(cars[0].look, variant=3),
        pose=dataclasses.replace(cars[0].pose, x=0.0, z=14.0, heading=0.0),
    )
    walker = some_actors(scene, PEDESTRIAN)[0]
    behind = Actor(look=walker.look, pose=dataclasses.replace(walker.pose, x=0.0, z=16.0))
    before = Actor(look=walker.look, pose=dataclasses.replace(walker.pose, x=0.0, z=11.0))

    hidden = scene.compose([behind, van]).truth
    assert PEDESTRIAN not in hidden.labels[~hidden.ignore].tolist()
    shown = scene.compose([van, before]).truth
    assert sorted(shown.labels[~shown.ignore].tolist()) == [PEDESTRIAN, CAR]


def test_objects_move_and_grow_towards_the_camera():
    """Perspective: the height of a pedestrian is inverse to depth."""
    scene = bare_scene()
    walker = some_actors(scene, PEDESTRIAN)[0]
    heights = []
    for z in (12.0, 24.0):
        pose = dataclasses.replace(walker.pose, x=0.0, z=z)
        box = scene.compose([Actor(look=walker.look, pose=pose)]).truth.boxes[0]
        heights.append(float(box[3] - box[1]))
    assert heights[0] / heights[1] == pytest.approx(2.0, rel=0.03)


@pytest.mark.parametrize("kind", WEATHER)
def test_weather_leaves_the_truth_alone(kind):
    clear, changed = stream().read([40, 41]), stream(drift=drifting(kind, 0.7)).read([40, 41])
    assert not torch.equal(clear.images, changed.images)
    assert equal(clear, dataclasses.replace(changed, images=clear.images))


def test_drift_starts_at_its_frame():
    clear, changed = stream(), stream(drift=drifting("night", 0.7, start=50))
    assert torch.equal(clear.read([49]).images, changed.read([49]).images)
    assert not torch.equal(clear.read([50]).images, changed.read([50]).images)


def test_scene_drift_shows_another_place_and_its_own_truth():
    home, away = stream().read(range(0, 200, 10)), stream(drift=drifting("scene", 0.6)).read(range(0, 200, 10))
    assert not equal(home, away)
    difference = (home.images.float().mean(0) - away.images.float().mean(0)).abs().mean()
    assert difference > 10


def test_mix_drift_brings_rare_classes_forward():
    """At full strength the expected shares of the most and the least frequent class change places."""
    place = make_place("market", 3, (128, 160))
    paths = make_paths(place)
    counts = {}
    for novelty in (0.0, 1.0):
        labels = [a.look.label for t in range(0, 6000, 10) for a in actors_at(place, paths, t, novelty)]
        counts[novelty] = np.bincount(labels, minlength=4)[1:] / len(labels)
    most = int(np.argmax(place.mix))
    assert counts[1.0][most] < 0.7 * counts[0.0][most]


def test_bad_arguments_say_what_is_wrong():
    with pytest.raises(InputError, match="has no frame -1"):
        stream().read([-1])
    with pytest.raises(ConfigError, match="at least 64 x 64"):
        stream(size=(32, 160))
    with pytest.raises(ConfigError, match="fps above 0"):
        stream(fps=0.0)
