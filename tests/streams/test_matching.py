"""Labels go to the frames that they are of: by path in folders, by number in videos, and only where the shape fits."""

import json

import numpy as np
import pytest
from PIL import Image

from nestevo_hw.base.errors import InputError
from nestevo_hw.streams.annotations import load_labels
from nestevo_hw.streams.matching import match
from nestevo_hw.streams.video import VideoStream

WIDTH, HEIGHT = 64, 48
BOXES = {"north": [11, 11, 22, 22], "south": [40, 30, 10, 10]}


def folder(path, count=3, size=(WIDTH, HEIGHT)):
    path.mkdir(parents=True)
    for k in range(count):
        Image.fromarray(np.full((size[1], size[0], 3), 40 * k, np.uint8)).save(path / f"{k:06}.png")
    return path


def site(path, name="{camera}/{index:06}.png", cameras=tuple(BOXES), **common):
    """A label file in which each camera's three frames have a box of its own."""
    images, boxes = [], []
    for camera in cameras:
        for k in range(3):
            id_ = len(images)
            file_name = name.format(camera=camera, index=k)
            images.append({"id": id_, "file_name": file_name, "width": WIDTH, "height": HEIGHT, "frame_index": k})
            boxes.append({"image_id": id_, "category_id": 1, "bbox": BOXES.get(camera, [1, 1, 9, 9])})
    document = {"categories": [{"id": 1, "name": "person"}], "images": images, "annotations": boxes, **common}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def opened(recording, labels):
    return VideoStream(name="v", path=recording, labels=labels, long_side=WIDTH)


def box(stream):
    """The box of its first frame as the label file has it."""
    x1, y1, x2, y2 = stream.read([0]).truth[0].boxes[0].tolist()
    return [x1, y1, x2 - x1, y2 - y1]


@pytest.mark.parametrize("where", ["site.json", "labels/site.json"])
@pytest.mark.parametrize("name", ["{camera}/{index:06}.png", "./{camera}/{index:06}.png", "{camera}\\{index:06}.png"])
def test_cameras_with_equal_file_names_keep_their_own_labels(tmp_path, where, name):
    labels = site(tmp_path / where, name)
    for camera, expected in BOXES.items():
        stream = opened(folder(tmp_path / camera), labels)
        assert (box(stream), stream.labelled_indices) == (expected, (0, 1, 2))
        assert (stream.review.frames, stream.review.elsewhere, stream.review.warnings) == (3, 3, ())


def test_paths_may_lead_out_of_the_label_files_folder(tmp_path):
    labels = site(tmp_path / "labels" / "site.json", "../{camera}/{index:06}.png")
    assert box(opened(folder(tmp_path / "north"), labels)) == BOXES["north"]


def test_labels_of_a_folder_beside_are_not_taken_for_another(tmp_path):
    labels = site(tmp_path / "north.json", cameras=["north"])
    folder(tmp_path / "north")
    with pytest.raises(InputError, match=r"none of 3 images belongs to .*south; name them relative to the label file"):
        opened(folder(tmp_path / "south"), labels)
    with pytest.raises(InputError, match="none of 6 images belongs to"):
        opened(folder(tmp_path / "west"), site(tmp_path / "site.json"))


def test_an_image_that_is_missing_or_labelled_twice_is_refused(tmp_path):
    labels = site(tmp_path / "site.json")
    with pytest.raises(InputError, match=r"image 'north/000002.png' is no file of it, but .*north has 2 frames"):
        opened(folder(tmp_path / "north", count=2), labels)
    twice = site(tmp_path / "twice.json", "{index:06}.png")
    with pytest.raises(InputError, match=r"frame 0 of .* is labelled twice, as '000000.png' and '000000.png'; keep"):
        opened(folder(tmp_path / "south"), twice)


def test_frames_without_file_names_of_their_own_go_by_number(tmp_path):
    labels = site(tmp_path / "clip.json", "clip_{index}", cameras=["north"])
    assert box(opened(folder(tmp_path / "extracted"), labels)) == BOXES["north"]


class Clip:
    """The frames of a video."""

    names, length, fps, native_size = (), 3, 10.0, (HEIGHT, WIDTH)


def labelled(labels, recording):
    found = match(load_labels(labels), labels, Clip(), recording)
    return [image.name for image in found.values()]


def test_several_videos_in_one_file_are_told_apart_by_folder_or_list(tmp_path):
    by_folder = site(tmp_path / "folders.json")
    assert labelled(by_folder, tmp_path / "south.mp4") == [f"south/{k:06}.png" for k in range(3)]
    with pytest.raises(InputError, match="none of 6 images belongs to"):
        labelled(by_folder, tmp_path / "west.mp4")
    listed = json.loads(site(tmp_path / "listed.json", "{camera}-{index}").read_text())
    listed["videos"] = [{"id": 1, "file_name": "clips/north.mp4"}, {"id": 2, "name": "south"}]
    for image in listed["images"]:
        image["video_id"] = 1 if image["file_name"].startswith("north") else 2
    (tmp_path / "listed.json").write_text(json.dumps(listed))
    for camera in BOXES:
        assert labelled(tmp_path / "listed.json", tmp_path / f"{camera}.mp4") == [f"{camera}-{k}" for k in range(3)]
    listed["images"], listed["annotations"] = listed["images"][:3], listed["annotations"][:3]
    (tmp_path / "listed.json").write_text(json.dumps(listed))
    with pytest.raises(InputError, match=r"none of 3 images belongs to .*south\.mp4"):
        labelled(tmp_path / "listed.json", tmp_path / "south.mp4")


def test_a_video_frame_labelled_by_two_images_is_refused(tmp_path):
    labels = site(tmp_path / "flat.json", "{camera}-{index}")
    with pytest.raises(InputError, match=r"frame 0 of .* is labelled twice, as 'north-0' and 'south-0'; keep one"):
        labelled(labels, tmp_path / "north.mp4")


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (WIDTH, HEIGHT + 8), (4 * WIDTH, HEIGHT)])
def test_labels_of_another_shape_are_refused(tmp_path, size):
    labels = site(tmp_path / "north.json", cameras=["north"])
    with pytest.raises(InputError, match=rf"is 64 x 48, but frame 0 of .* is {size[0]} x {size[1]} as it is shown"):
        opened(folder(tmp_path / "north", size=size), labels)


def test_a_single_frame_of_another_shape_is_refused_before_and_while_it_is_read(tmp_path):
    path = folder(tmp_path / "north")
    Image.fromarray(np.zeros((WIDTH, HEIGHT, 3), np.uint8)).save(path / "000002.png")
    stream = opened(path, site(tmp_path / "north.json", cameras=["north"]))
    stream.check([0, 1])
    for look in (stream.check, stream.read):
        with pytest.raises(InputError, match=r"image 'north/000002.png' is 64 x 48, but frame 2 of .* is 48 x 64"):
            look([0, 2])


def test_labels_in_another_resolution_are_scaled_and_said(tmp_path):
    stream = opened(folder(tmp_path / "north", size=(129, 96)), site(tmp_path / "north.json", cameras=["north"]))
    assert stream.review.warnings == (
        f"labels {tmp_path / 'north.json'}: boxes are scaled, the first from 64 x 48 to 129 x 96",
    )
    assert box(stream) == pytest.approx(BOXES["north"])


def test_what_is_dropped_cut_or_empty_is_said_in_a_line_each(tmp_path):
    path = folder(tmp_path / "north")
    labels = site(tmp_path / "north.json", cameras=["north"])
    document = json.loads(labels.read_text())
    document["annotations"][1]["bbox"] = [50, 30, 40, 10]
    document["annotations"][2]["bbox"] = [70, 10, 4, 4]
    labels.write_text(json.dumps(document))
    review = opened(path, labels).review
    assert (review.boxes, review.cut, review.dropped) == (2, 1, {"outside the frame": 1})
    assert review.warnings == (
        f"labels {labels}: 1 boxes dropped (1 outside the frame), the first in 'north/000002.png'",
        f"labels {labels}: 1 boxes reach beyond their frame and are cut, the first in 'north/000001.png'",
    )
    labels.write_text(json.dumps(document | {"annotations": []}))
    (warning,) = opened(path, labels).review.warnings
    assert "none of 3 labelled frames has a box, so all of them are background" in warning
