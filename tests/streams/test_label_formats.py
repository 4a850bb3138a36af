"""Labels of other formats become what COCO labels of the same boxes are, and go through the same review."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nestevo_hw.base.errors import InputError
from nestevo_hw.streams.annotations import EMPTY, OUTSIDE, load_labels
from nestevo_hw.streams.images import ImageFolder
from nestevo_hw.streams.sources import VideoFile
from nestevo_hw.streams.video import VideoStream
from tests.streams.clips import HEIGHT, WIDTH, write_clip

BOXES = {0: [("person", (10, 20, 30, 60)), ("car", (40, 8, 104, 40))], 3: [], 5: [("person", (0, 0, 16, 12))]}
"""By frame: category, and left, top, right and bottom in pixels."""
NAMES = ("person", "car", "dog")


def write_coco(path: Path) -> Path:
    images = [{"id": k, "file_name": f"{k:06}.png", "width": WIDTH, "height": HEIGHT, "frame_index": k} for k in BOXES]
    boxes = [
        {"image_id": k, "category_id": NAMES.index(name), "bbox": [x, y, right - x, bottom - y]}
        for k, inside in BOXES.items() for name, (x, y, right, bottom) in inside
    ]  # fmt: skip
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES)]
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return path


def write_bdd(path: Path, *, wrapped: bool = False) -> Path:
    def label(name, x, y, right, bottom):
        return {"id": "1", "category": name, "attributes": {"occluded": True}, "manualShape": True,
                "box2d": {"x1": x, "y1": y, "x2": right, "y2": bottom}}  # fmt: skip

    lane = {"id": "7", "category": "lane", "poly2d": [{"vertices": [[0, 0]], "types": "L", "closed": False}]}
    frames = [
        {"name": f"{k:06}.png", "frameIndex": k, "timestamp": 10000, "size": {"width": WIDTH, "height": HEIGHT},
         "labels": [*(label(name, *box) for name, box in inside), lane] if inside else None}
        for k, inside in BOXES.items()
    ]  # fmt: skip
    path.write_text(json.dumps({"frames": frames, "config": {}} if wrapped else frames))
    return path


def voc_object(name, x, y, right, bottom, difficult=0):
    corners = f"<xmin>{x + 1}</xmin><ymin>{y + 1}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax>"
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{corners}</bndbox></object>"


def write_voc(path: Path) -> Path:
    path.mkdir()
    for k, inside in BOXES.items():
        size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height><depth>3</depth></size>"
        objects = "".join(voc_object(name, *box) for name, box in inside)
        text = f"<annotation><filename>{k:06}.png</filename>{size}{objects}</annotation>"
        (path / f"{k:06}.xml").write_text(text)
    return path


def write_yolo(path: Path) -> Path:
    path.mkdir()
    (path / "classes.txt").write_text("\n".join(NAMES) + "\n")
    for k, inside in BOXES.items():
        lines = [
            f"{NAMES.index(name)} {(x + r) / 2 / WIDTH} {(y + b) / 2 / HEIGHT} {(r - x) / WIDTH} {(b - y) / HEIGHT}"
            for name, (x, y, r, b) in inside
        ]
        (path / f"{k:06}.txt").write_text("\n".join(lines))
    return path


WRITERS = {"bdd.json": write_bdd, "voc": write_voc, "yolo": write_yolo}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A video of six frames, and the same number of images."""
    folder = tmp_path_factory.mktemp("recordings")
    write_clip(folder / "clip.mp4", 6)
    (folder / "images").mkdir()
    for k in range(6):
        Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(folder / "images" / f"{k:06}.png")
    return folder / "clip.mp4", folder / "images"


@pytest.mark.parametrize("kind", WRITERS)
def test_each_format_says_what_coco_says(tmp_path, recordings, kind):
    labels, oracle = WRITERS[kind](tmp_path / kind), write_coco(tmp_path / "coco.json")
    for recording in recordings:
        found, expected = (
            VideoStream(name="a", path=recording, labels=each, class_map={"person": "human", "car": "car"},
                        classes=("car", "human"), long_side=64)
            for each in (labels, oracle)
        )  # fmt: skip
        assert found.labelled_indices == expected.labelled_indices == (0, 3, 5)
        assert (found.review.boxes, found.review.warnings) == (3, ())
        for own, other in zip(found.read([0, 3, 5]).truth, expected.read([0, 3, 5]).truth, strict=True):
            assert own.labels.tolist() == other.labels.tolist()
            assert own.boxes.numpy() == pytest.approx(other.boxes.numpy(), abs=1e-4)


def test_scalabel_wraps_the_same_frames(tmp_path):
    plain, wrapped = write_bdd(tmp_path / "a.json"), write_bdd(tmp_path / "b.json", wrapped=True)
    for one, other in zip(load_labels(plain).images, load_labels(wrapped).images, strict=True):
        assert (one.name, one.index, one.annotation.boxes.tolist()) == (
            other.name, other.index, other.annotation.boxes.tolist(),
        )  # fmt: skip


def test_regions_that_do_not_score(tmp_path):
    bdd = json.loads(write_bdd(tmp_path / "a.json").read_text())
    bdd[0]["labels"][1]["attributes"]["crowd"] = True
    (tmp_path / "a.json").write_text(json.dumps(bdd))
    voc = write_voc(tmp_path / "voc")
    file = voc / "000000.xml"
    file.write_text(file.read_text().replace("<difficult>0", "<difficult>1"))
    assert load_labels(tmp_path / "a.json").images[0].annotation.ignore.tolist() == [False, True]
    assert load_labels(voc).images[0].annotation.ignore.tolist() == [True, True]


def test_what_cannot_be_used_is_counted_as_in_coco(tmp_path, recordings):
    clip = VideoFile(recordings[0])
    yolo = write_yolo(tmp_path / "yolo")
    (yolo / "000003.txt").write_text("0 0.5 0.5 0 0.1\n2 1.5 0.5 0.1 0.1\n")
    labels = load_labels(yolo, source=clip)
    assert labels.classes == NAMES
    assert labels.images[1].remarks == (EMPTY, OUTSIDE)
    voc = write_voc(tmp_path / "voc")
    (voc / "000003.xml").write_text((voc / "000005.xml").read_text().replace("000005", "000003").replace(
        "</annotation>", f"{voc_object('dog', 2 * WIDTH, 0, 3 * WIDTH, 9)}</annotation>"))  # fmt: skip
    assert load_labels(voc).images[1].remarks == (OUTSIDE,)


def test_frames_of_another_size_than_the_first(tmp_path, recordings):
    """YOLO has shares, so a large image among small ones has large boxes."""
    for k in (0, 3, 5):
        Image.fromarray(np.zeros((2 * HEIGHT, 2 * WIDTH, 3), np.uint8)).save(tmp_path / f"{k:06}.png")
    labels = load_labels(write_yolo(tmp_path / "yolo"), source=ImageFolder(tmp_path))
    assert labels.images[0].size == (2 * HEIGHT, 2 * WIDTH)
    assert labels.images[0].annotation.boxes[0].tolist() == pytest.approx([20, 40, 60, 120])


@pytest.mark.parametrize(
    "text",
    [
        "train: images\nnames: [person, 'car', \"dog\"]\nnc: 3\n",
        "nc: 3\nnames:\n  - person\n  - car  # all of them\n  - 'dog'\n",
        "names:\n- person\n- car\n- dog\nval: x\n",
        "names:\n  0: person\n  1: car\n  2: dog\ntrain: x\n",
        "names: {0: person, 1: car, 2: dog}\n",
        "names: [person,\n  car, dog]\ntrain: x\n",
    ],
)
def test_names_of_a_yaml_file(tmp_path, recordings, text):
    labels = tmp_path / "labels"
    write_yolo(labels)
    (labels / "classes.txt").unlink()
    (tmp_path / "data.yaml").write_text(text)
    assert load_labels(labels, source=VideoFile(recordings[0])).classes == NAMES


@pytest.mark.parametrize("text", ["names: &a [person]", "names: [a, [b]]", "nc: 3", "names: |\n  person",
                                  "names:\n  1: person\n  0: car", "names: []", "names: [a, a]",
                                  "names:\n  - a: b"])  # fmt: skip
def test_names_that_are_not_as_simple_are_refused(tmp_path, recordings, text):
    labels = write_yolo(tmp_path / "labels")
    (labels / "classes.txt").unlink()
    (labels / "data.yaml").write_text(text)
    with pytest.raises(InputError, match=r"data\.yaml: .* into classes\.txt$"):
        load_labels(labels, source=VideoFile(recordings[0]))


@pytest.mark.parametrize(
    ("kind", "name", "text", "message"),
    [
        ("yolo", "000000.txt", "0 0.1 0.1 0.1", r"000000\.txt: line 1: need class, .* got '0 0\.1 0\.1 0\.1'"),
        ("yolo", "000000.txt", "0 0.1 0.1 0.1 0.1 0.2 0.2", "line 1: need class"),
        ("yolo", "000000.txt", "\n3 0.1 0.1 0.1 0.1", r"line 2: class 3 is none of the 3 named; correct either"),
        ("yolo", "000000.txt", "0.5 0.1 0.1 0.1 0.1", "class 0.5 is none of the 3 named"),
        ("yolo", "000000.txt", "nan 0.1 0.1 0.1 0.1", "class nan is none of the 3 named"),
        ("yolo", "000000.txt", "0 0.1 0.1 -0.1 0.1", "need left <= right"),
        ("yolo", "000000.txt", "0 inf 0.1 0.1 0.1", "need left <= right"),
        ("yolo", "classes.txt", "", r"classes\.txt: need different names of classes, got 0"),
        ("yolo", "a.xml", "<annotation/>", "holds both .xml and .txt labels; keep one kind"),
        ("voc", "000000.xml", "<annotation>", "000000.xml is not valid XML: no element found"),
        ("voc", "000000.xml", "<a/>", "000000.xml is no label of Pascal VOC but a 'a'"),
        ("voc", "000000.xml", "<annotation/>", "000000.xml: size/height is '', no number; correct it"),
        ("voc", "000000.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "declares entities or types"),
        ("voc", "000000.xml", "<annotation><size><width>0</width><height>9</height></size></annotation>",
         r"images\[0\]\.width: .* greater than or equal to 1"),
        ("voc", "000000.xml", "<annotation><size><width>9</width><height>9</height></size><object/></annotation>",
         "object 0 has no name"),
        ("bdd.json", None, '[{"name": "a", "labels": [{"category": "car", "box2d": {"x1": 5, "y1": 0, "x2": 4, '
         '"y2": 1}}]}]', r"bdd\.json: \[0\]\.labels\[0\]\.box2d: need left <= right and top <= bottom, got 5, 0, 4"),
        ("bdd.json", None, '[{"labels": []}]', r"bdd\.json: \[0\]\.name: field required"),
        ("bdd.json", None, "[]", "have no frame; give labels as COCO or BDD100K JSON"),
        ("bdd.json", None, "3", "expected an object"),
    ],
)  # fmt: skip
def test_damaged_labels_say_where(tmp_path, recordings, kind, name, text, message):
    labels = WRITERS[kind](tmp_path / kind)
    (labels / name if name else labels).write_text(text)
    with pytest.raises(InputError, match=message):
        load_labels(labels, source=VideoFile(recordings[0]))


def test_folders_without_labels_or_classes(tmp_path, recordings):
    with pytest.raises(InputError, match=r"holds no labels; give labels as COCO"):
        load_labels(tmp_path, source=VideoFile(recordings[0]))
    labels = write_yolo(tmp_path / "yolo")
    with pytest.raises(InputError, match="YOLO files do not say how large frames are"):
        load_labels(labels)
    (labels / "classes.txt").unlink()
    with pytest.raises(InputError, match=r"no classes\.txt or obj\.names beside them; write one, a class a line"):
        load_labels(labels, source=VideoFile(recordings[0]))
