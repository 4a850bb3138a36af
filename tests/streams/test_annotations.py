"""A label file is read by one strict schema: what cannot be meant is refused, what cannot be used is counted."""

import json
import os

import pytest

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.streams.annotations import CUT, EMPTY, OUTSIDE, REPEATED, load_labels

WIDTH, HEIGHT = 80, 60
BOX = [10, 10, 20, 20]


def document(*boxes, **changes):
    """One image with boxes of the first category."""
    return {
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "car"}],
        "images": [{"id": 7, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": [{"id": k, "image_id": 7, "category_id": 1, "bbox": box} for k, box in enumerate(boxes)],
        **changes,
    }


def entry(**changes):
    """A document whose only annotation is changed; None leaves a field out."""
    box = {"id": 1, "image_id": 7, "category_id": 1, "bbox": BOX} | changes
    return document(annotations=[{key: value for key, value in box.items() if value is not None}])


def image(**changes):
    return document(BOX, images=[document()["images"][0] | changes])


def without(key):
    return {name: value for name, value in document(BOX).items() if name != key}


def load(tmp_path, content, **how):
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(content))
    return load_labels(path, **how)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (without("annotations"), r"labels\.json: annotations: field required; give labels as COCO or BDD100K JSON"),
        (without("annotations") | {"annotation": []}, "annotations: field required"),
        (without("images"), "images: field required"),
        (without("categories"), "categories: field required"),
        (document(BOX, annotations={"1": BOX}), "annotations: expected a list"),
        (entry(bbox=None), r"annotations\[0\]\.bbox: field required"),
        (entry(bbox=[1, 2, 3]), r"annotations\[0\]\.bbox"),
        (entry(bbox=[10, 10, -5, 20]), r"annotations\[0\]\.bbox\[2\]: .* greater than or equal to 0 \(got -5\)"),
        (entry(bbox=[10, float("nan"), 5, 20]), r"NaN is no finite number"),
        (entry(bbox=[10, 10, 5, float("inf")]), r"Infinity is no finite number"),
        (entry(bbox=["10", 10, 5, 5]), r"annotations\[0\]\.bbox\[0\]: .* \(got '10'\)"),
        (entry(bbox=[1e300, 10, 5, 5]), r"annotations\[0\]\.bbox\[0\]: .* less than or equal to"),
        (entry(image_id=10**3000), r"annotations\[0\]\.image_id: "),
        (image(file_name="a" * 10**6), r"images\[0\]\.file_name: string should have at most 1024 characters"),
        (entry(iscrowd="0"), r"annotations\[0\]\.iscrowd: .* valid integer \(got '0'\)"),
        (entry(iscrowd=2), r"annotations\[0\]\.iscrowd: .* less than or equal to 1 \(got 2\)"),
        (entry(image_id=8), r"annotations\[0\]: no image has id 8; add it to images"),
        (entry(category_id=9), r"annotations\[0\]: no category has id 9; add it to categories"),
        (entry(category_id=1.5), r"annotations\[0\]\.category_id: .* \(got 1\.5\)"),
        (document(BOX, ignore=[{"image_id": 8, "category_id": 1, "bbox": BOX}]), r"ignore\[0\]: no image has id 8"),
        (document(BOX, images=document()["images"] * 2), "images has id 7 more than once; give each its own"),
        (document(BOX, annotations=entry()["annotations"] * 2), "annotations has id 1 more than once"),
        (document(BOX, categories=[{"id": 1, "name": "a"}, {"id": 1, "name": "b"}]), "categories has id 1 more than"),
        (image(width=0), r"images\[0\]\.width: .* greater than or equal to 1"),
        (image(height=10**400), r"images\[0\]\.height: .* less than or equal to 65535"),
        (image(frame_index=-1), r"images\[0\]\.frame_index: .* greater than or equal to 0"),
        (document([0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5]), "all 2 boxes lie in the first pixel, as shares of a"),
        (document([90, 10, 5, 5], [10, 70, 5, 5], [1, 1, 0, 5]), "all 3 boxes are without area or outside their"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_with_its_place(tmp_path, content, message):
    with pytest.raises(InputError, match=message) as refusal:
        load(tmp_path, content)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


def test_a_class_map_that_fits_nothing_lists_what_there_is_in_one_short_line(tmp_path):
    categories = [{"id": k, "name": f"category {k}"} for k in range(10_000)]
    with pytest.raises(ConfigError, match=r"has no category 'persn', only category 0, category 1, .*\.\.$") as refusal:
        load(tmp_path, document(BOX, categories=categories), class_map={"persn": "person"})
    assert len(str(refusal.value)) < 1200


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "labels.json")
    with pytest.raises(InputError, match=r"labels\.json are not in a file; give labels as COCO or BDD100K JSON"):
        load_labels(tmp_path / "labels.json")


def test_boxes_that_cannot_be_used_are_dropped_and_said(tmp_path):
    boxes = [BOX, [90, 10, 5, 5], [-9, 0, 9, 9], BOX, [70, 50, 20, 20], [5, 5, 0, 9], [5, 5, 9, 0], [-0.5, 0, 80.9, 9]]
    (found,) = load(tmp_path, document(*boxes)).images
    assert found.remarks == (OUTSIDE, OUTSIDE, REPEATED, CUT, EMPTY, EMPTY)
    assert found.scaled_to((HEIGHT, WIDTH)).boxes.tolist() == [[10, 10, 30, 30], [70, 50, 80, 60], [0, 0, 80, 9]]


def test_one_object_in_two_merged_categories_counts_once(tmp_path):
    content = document(annotations=[{"image_id": 7, "category_id": k, "bbox": BOX} for k in (1, 2)])
    (found,) = load(tmp_path, content, class_map={"person": "thing", "car": "thing"}).images
    assert (found.remarks, found.annotation.labels.tolist()) == ((REPEATED,), [1])
    (apart,) = load(tmp_path, content).images
    assert (apart.remarks, apart.annotation.labels.tolist()) == ((), [1, 2])


def test_crowds_regions_and_what_the_map_leaves_out(tmp_path):
    region = {"image_id": 7, "category_id": 1, "bbox": BOX}
    marks = [{"iscrowd": 0}, {"iscrowd": 1}, {"iscrowd": True}, {"iscrowd": False, "bbox": [1, 1, 2, 2]}]
    other = {"image_id": 7, "category_id": 2, "bbox": BOX}
    content = document(annotations=[*(region | mark for mark in marks), other], ignore=[region, other])
    (found,) = load(tmp_path, content, class_map={"person": "pedestrian"}).images
    assert found.annotation.ignore.tolist() == [False, True, True, False, True]
    assert (found.left_out, found.remarks) == (("car", "car"), ())


def test_whole_numbers_may_be_written_as_floats(tmp_path):
    (found,) = load(tmp_path, entry(image_id=7.0, category_id=1.0) | {"images": image(id=7.0)["images"]}).images
    assert found.annotation.boxes.tolist() == [[10, 10, 30, 30]]
