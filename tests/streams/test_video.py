import json
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.streams.frame import Stream
from nestevo_hw.streams.sources import VideoFile
from nestevo_hw.streams.video import FILL, VideoStream
from nestevo_hw.streams.weather import DriftScript, DriftSegment
from tests.streams.clips import number, write_clip

FRAMES, HEIGHT, WIDTH = 40, 96, 128
MAP = {"person": "pedestrian", "car": "vehicle", "bus": "vehicle"}
FOG = DriftScript(segments=(DriftSegment(start=10, kind="fog", strength=0.6),))


def square(index):
    """Left and top of the bright square in a frame."""
    return 2 * index, 20 + index


def pixels(index):
    frame = np.full((HEIGHT, WIDTH, 3), (30, 60, 90), np.uint8)
    x, y = square(index)
    frame[y : y + 24, x : x + 16] = (220, 200, 40)
    return frame


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        track = container.add_stream("mpeg4", rate=Fraction(8))
        track.width, track.height, track.pix_fmt, track.gop_size = WIDTH, HEIGHT, "yuv420p", 12
        track.bit_rate = 4_000_000
        for index in range(FRAMES):
            container.mux(track.encode(av.VideoFrame.from_ndarray(pixels(index), format="rgb24")))
        container.mux(track.encode(None))
    return path


def document(indices=range(0, FRAMES, 2), name="clip_{:06d}"):
    names = ("person", "car", "bus", "dog")
    images, annotations, ignored = [], [], []
    for index in indices:
        x, y = square(index)
        images.append(
            {"id": 100 + index, "file_name": name.format(index), "width": WIDTH, "height": HEIGHT, "frame_index": index}
        )
        for category, offset in ((1, 0), (3, 1), (4, 2)):
            annotations.append(
                {"image_id": 100 + index, "category_id": category, "bbox": [x + offset, y, 16, 24], "iscrowd": 0}
            )
        annotations.append({"image_id": 100 + index, "category_id": 2, "bbox": [0, 0, 9, 9], "iscrowd": 1})
        ignored.append({"image_id": 100 + index, "category_id": 1, "bbox": [100, 0, 40, 10]})
    return {
        "categories": [{"id": k + 1, "name": n} for k, n in enumerate(names)],
        "images": images,
        "annotations": annotations,
        "ignore": ignored,
    }


@pytest.fixture(scope="module")
def labels(clip):
    path = clip.with_suffix(".json")
    path.write_text(json.dumps(document()))
    return path


def opened(clip, labels=None, **changes):
    arguments = {"name": "v", "path": clip, "labels": labels, "long_side": WIDTH, "drift": None} | changes
    if labels is not None:
        arguments = {"class_map": MAP, "classes": ("pedestrian", "vehicle")} | arguments
    return VideoStream(**arguments)


def test_every_frame_comes_back_at_its_index_in_any_order(clip):
    stream: Stream = opened(clip)
    assert (stream.length, stream.fps, stream.size) == (FRAMES, 8.0, (HEIGHT, WIDTH))
    order = [39, 0, 13, 12, 11, 25, 13]
    batch = stream.read(order)
    assert batch.indices == tuple(order)
    for image, index in zip(batch.images, order, strict=True):
        expected = torch.from_numpy(pixels(index)).permute(2, 0, 1)
        # Lossy coding moves colours a little; the square moves by two pixels a frame.
        assert (image.float() - expected.float()).abs().mean() < 4
        x, y = square(index)
        bright = (image[0] > 125).nonzero()
        assert (bright[:, 1].float().mean() - (x + 7.5)).abs() < 0.5
        assert (bright[:, 0].float().mean() - (y + 11.5)).abs() < 0.5


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.mp4", "libx264"),
        ("a.mkv", "libx264"),
        ("a.ts", "libx264"),  # without an index: a search comes to stand behind the key frame
        ("b.ts", "mpeg2video"),
        ("a.m2ts", "libx264"),
        ("a.avi", "libx264"),  # stores no times of showing
        ("a.mpg", "mpeg2video"),  # stores only some
        ("a.vob", "mpeg2video"),
        ("a.h264", "libx264"),  # cannot be wound back
        ("a.webm", "libvpx-vp9"),
    ],
)
def test_files_that_store_frames_in_another_order_are_read_in_that_of_showing(tmp_path, name, codec):
    count = 60
    file = VideoFile(write_clip(tmp_path / name, count, fps=25, codec=codec, reordered=True))
    assert file.length == count
    assert file.whole(range(count)) == [*range(count)]
    for wanted in (range(count), [0], [11], [12, 13], [59], [47, 48], range(5, count, 9)):
        assert [number(f.pixels) for f in file.frames(wanted, file.native_size)] == [*wanted]


def test_one_by_one_equals_all_at_once_with_and_without_cache(clip):
    everything = opened(clip).read(range(FRAMES)).images
    small = opened(clip, cache_mb=0.1)
    for index in (30, 2, 31, 30, 3):
        assert torch.equal(small.read([index]).images[0], everything[index])
    assert len(small._cache) <= 2


def test_boxes_scale_with_the_frame(clip, labels):
    stream = opened(clip, labels, long_side=64)
    assert stream.size == (48, 64)
    batch = stream.read([4, 8])
    assert batch.images.shape == (2, 3, 48, 64)
    x, y = square(4)
    truth = batch.truth[0]
    expected = [[x / 2, y / 2, x / 2 + 8, y / 2 + 12]]
    assert truth.boxes[(truth.labels == 1) & ~truth.ignore].tolist() == expected


def test_boxes_stay_where_they_are_on_a_larger_canvas(clip, labels):
    alone, filled = opened(clip, labels, long_side=64).read([4]), opened(clip, labels, canvas=(80, 64)).read([4])
    assert filled.images.shape == (1, 3, 80, 64)
    assert torch.equal(filled.images[:, :, :48], alone.images)
    assert torch.equal(filled.images[0, :, 48:], FILL.expand(3, 32, 64))
    assert torch.equal(filled.truth[0].boxes, alone.truth[0].boxes)


def test_classes_merge_and_ignore_lists_become_crowds(clip, labels):
    truth = opened(clip, labels).read([0]).truth[0]
    # person, bus as vehicle; dog is unnamed; the crowd of cars and the ignore list do not score.
    assert sorted(zip(truth.labels.tolist(), truth.ignore.tolist(), strict=True)) == [
        (1, False),
        (1, True),
        (2, False),
        (2, True),
    ]
    assert truth.boxes[:, 2].max() <= WIDTH


def test_truth_only_where_every_frame_is_labelled(clip, labels):
    stream = opened(clip, labels)
    assert stream.labelled_indices == tuple(range(0, FRAMES, 2))
    assert stream.read([0, 2]).truth is not None
    assert stream.read([0, 1]).truth is None
    assert opened(clip).read([0]).truth is None
    assert opened(clip).labelled_indices == ()


def test_weather_on_a_recording_keeps_its_truth(clip, labels):
    clear = opened(clip, labels)
    foggy = clear.with_drift(FOG, seed=5)
    assert torch.equal(clear.read([8]).images, foggy.read([8]).images)
    a, b = clear.read([20]), foggy.read([20])
    assert not torch.equal(a.images, b.images)
    assert torch.equal(a.truth[0].boxes, b.truth[0].boxes)
    assert torch.equal(clear.read([20]).images, a.images)
    assert torch.equal(b.images, opened(clip, drift=FOG, seed=5).read([20]).images)


def test_a_recording_cannot_change_its_scene(clip):
    script = DriftScript(segments=(DriftSegment(start=0, kind="scene", strength=0.5),))
    with pytest.raises(ConfigError, match="drift scene needs rendered street scenes"):
        opened(clip, drift=script)


def test_a_folder_of_images_is_a_stream(tmp_path):
    for index in range(4):
        Image.fromarray(pixels(index)).save(tmp_path / f"clip_{index:06d}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    labels = tmp_path / "labels.json"
    labels.write_text(json.dumps(document((1, 3), name="images/clip_{:06d}.png")))
    stream = opened(tmp_path, labels)
    assert (stream.length, stream.fps, stream.labelled_indices) == (4, 10.0, (1, 3))
    batch = stream.read([3, 0])
    assert torch.equal(batch.images[1], torch.from_numpy(pixels(0)).permute(2, 0, 1))


def test_missing_and_corrupt_recordings_say_so(tmp_path, clip):
    with pytest.raises(InputError, match=r"no video .*gone\.mp4; check the path"):
        opened(tmp_path / "gone.mp4")
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video at all" * 50)
    with pytest.raises(InputError, match="is not a readable video"):
        opened(broken)
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(clip.read_bytes()[: clip.stat().st_size // 2])
    with pytest.raises(InputError, match="is not a readable video"):
        opened(cut)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="has no images"):
        opened(empty)
    (empty / "a.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"a\.png is not a readable image"):
        opened(empty)


def test_damaged_frames_are_an_input_error(tmp_path, clip):
    """Zeros in place of the coded frames: the index stays, decoding fails."""
    data = bytearray(clip.read_bytes())
    start = data.index(b"mdat") + 4
    data[start : start + len(data) // 2] = bytes(len(data) // 2)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"damaged\.mp4"):
        opened(path).read([3])


@pytest.mark.parametrize("index", [-1, FRAMES])
def test_frames_outside_the_recording_are_refused(clip, index):
    with pytest.raises(InputError, match=f"has frames 0 to {FRAMES - 1}, not {index}"):
        opened(clip).read([0, index])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"labels\.json is not valid JSON: .*; give labels as COCO or BDD100K JSON"),
        ("[1]", r"labels\.json: \[0\]: expected an object \(got 1\)"),
        ('{"images": []}', "categories: field required"),
        (json.dumps(document() | {"images": []}), r"annotations\[0\]: no image has id 100; add it"),
        (json.dumps(document(range(38, 42, 2))), "frame_index 40, but .* has 40 frames"),
    ],
)
def test_bad_label_files_say_what_is_wrong(clip, tmp_path, text, message):
    path = tmp_path / "labels.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        opened(clip, path)


def test_missing_labels_and_unknown_classes(clip, labels, tmp_path):
    with pytest.raises(InputError, match=r"no file .*gone\.json; give labels as COCO or BDD100K JSON"):
        opened(clip, tmp_path / "gone.json")
    with pytest.raises(ConfigError, match="has no category 'persn', only person, car, bus, dog"):
        opened(clip, labels, class_map={"persn": "pedestrian"})
    with pytest.raises(ConfigError, match="no class 'lorry' for 'car'; choose from pedestrian, vehicle"):
        opened(clip, labels, class_map={"car": "lorry"})
    with pytest.raises(ConfigError, match="long side of at least 32"):
        opened(clip, long_side=8)


def real(name):
    folder = Path(os.environ.get("NESTEVO_DATA", "")) / "video"
    if not os.environ.get("NESTEVO_DATA") or not (folder / f"{name}.mp4").is_file():
        pytest.skip("NESTEVO_DATA names no folder with video/vtest.mp4")
    return folder / f"{name}.mp4", folder / f"{name}.json"


def test_real_surveillance_clip():
    clip, labels = real("vtest")
    stream = VideoStream(
        name="v", path=clip, labels=labels, class_map={"person": "person", "car": "vehicle"}, long_side=320
    )
    assert (stream.length, stream.fps, stream.size) == (795, 10.0, (240, 320))
    truth = stream.read(stream.labelled_indices[::40]).truth
    counted = torch.cat([a.labels[~a.ignore] for a in truth])
    assert len(stream.labelled_indices) == 398
    assert (counted == 1).sum() > 3 * len(truth)
