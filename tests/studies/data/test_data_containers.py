"""Every container of labelled samples, read and refused."""

import json
import sys
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.streams.samples import arrays
from nestevo_hw.streams.samples.preprocessing import Preprocessing
from nestevo_hw.studies.data.dataset import evenly, given_data, open_data, open_source, split
from nestevo_hw.studies.data.spec import DataSpec

PLAIN = Preprocessing()


def folders(path, counts, *, size=(6, 8), mode="RGB"):
    """Class folders of images whose grey value is 10 times the class plus the number of the image."""
    for label, (name, count) in enumerate(counts.items()):
        (path / name).mkdir(parents=True)
        for i in range(count):
            Image.new(mode, (size[1], size[0]), (10 * label + i,) * len(mode)).save(path / name / f"{i}.png")
    return path


def coco(path, *, boxes=(((0, 0, 4, 4), 1), ((2, 2, 4, 3), 2)), count=6):
    """A label file with the same boxes in every image of 8 x 6 pixels."""
    (path / "frames").mkdir(parents=True)
    images, annotations = [], []
    for i in range(count):
        Image.new("RGB", (8, 6), (i, i, i)).save(path / "frames" / f"{i}.png")
        images.append({"id": i, "file_name": f"frames/{i}.png", "width": 8, "height": 6})
        for box, category in boxes:
            annotations.append({"id": len(annotations), "image_id": i, "category_id": category, "bbox": list(box)})
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    file = path / "labels.json"
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return file


VOC = """<annotation><filename>{n}.png</filename><size><width>8</width><height>6</height></size>
<object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></object>
<object><name>dog</name><difficult>1</difficult>
<bndbox><xmin>3</xmin><ymin>3</ymin><xmax>6</xmax><ymax>5</ymax></bndbox></object></annotation>"""


def voc(path, labels="Annotations", images="JPEGImages", count=6):
    """The boxes of `coco` as Pascal VOC has them, where its first pixel is 1; the dog is difficult."""
    return _beside(path, labels, images, count, lambda n: (f"{n}.xml", VOC.format(n=n)))


def yolo(path, labels="labels/train", images="images/train", count=6):
    """The same as YOLO has them, in shares of the frame."""
    box = "0 0.25 0.3333333 0.5 0.6666667\n1 0.5 0.5833333 0.5 0.5\n"
    found = _beside(path, labels, images, count, lambda n: (f"{n}.txt", box))
    (path / "data.yaml").write_text("names: [cat, dog]\n")
    return found


def _beside(path, labels, images, count, written):
    for folder in (labels, images):
        (path / folder).mkdir(parents=True, exist_ok=True)
    for n in range(count):
        Image.new("RGB", (8, 6), (n, n, n)).save(path / images / f"{n}.png")
        name, text = written(n)
        (path / labels / name).write_text(text)
    return path / labels


def read(spec, indices, prepare=PLAIN):
    source = open_source(spec)
    return source, list(source.read(indices, prepare))


def test_class_folders_are_numbered_by_name(tmp_path):
    path = folders(tmp_path / "d", {"b": 2, "a": 3})
    source, found = read(DataSpec(source=str(path)), range(5))
    assert (source.classes, source.count, max(source.labels)) == (("a", "b"), 5, 1)
    assert [one.target for one in found] == [0, 0, 0, 1, 1]
    assert [int(one.sample[0, 0, 0]) for one in found] == [10, 11, 12, 0, 1]  # b came first when they were written
    assert found[0].sample.shape == (3, 6, 8)
    reordered = open_source(DataSpec(source=str(path), classes=("b", "a", "c")))
    assert (max(reordered.labels), [one.target for one in reordered.read([0, 4], PLAIN)]) == (1, [1, 0])


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("shape", "expected"),
    [((9, 2, 4, 5), (2, 4, 5)), ((9, 6, 5, 3), (3, 6, 5)), ((9, 4, 5), (1, 4, 5)), ((9, 7), (7,))],
)
def test_arrays_of_every_layout(tmp_path, shape, expected, compressed):
    x = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    file = tmp_path / "d.npz"
    (np.savez_compressed if compressed else np.savez)(file, x=x, y=np.arange(9) % 3)
    source, found = read(DataSpec(source=str(file)), [1, 4, 8])
    assert (source.count, max(source.labels), [one.target for one in found]) == (9, 2, [1, 1, 2])
    for index, one in zip([1, 4, 8], found, strict=True):
        own = x[index][None] if x.ndim == 3 else x[index].transpose(2, 0, 1) if shape[-1] == 3 else x[index]
        assert one.sample.shape == expected
        assert np.array_equal(one.sample.numpy(), own)


def test_several_arrays_are_several_inputs(tmp_path):
    file = tmp_path / "d.npz"
    np.savez(file, image=np.ones((4, 1, 3, 3), np.float32), scale=np.full((4, 2), 2.0), y=[0, 1, 1, 0])
    _, found = read(DataSpec(source=str(file)), [2])
    assert {key: tuple(value.shape) for key, value in found[0].sample.items()} == {"image": (1, 3, 3), "scale": (2,)}
    assert found[0].sample["scale"].dtype == torch.float32


def test_only_what_is_asked_for_is_read(tmp_path, monkeypatch):
    file = tmp_path / "d.npz"
    np.savez(file, x=np.zeros((5000, 8), np.float32), y=np.zeros(5000, np.int64))
    rows = []
    kept = arrays.checked_array
    monkeypatch.setattr(
        arrays, "checked_array", lambda row, index, source: rows.append(index) or kept(row, index, source)
    )
    data = open_data(DataSpec(source=str(file)), "m", nn.Linear(8, 2), frames=10, seed=0)
    assert len(rows) == 10 + 32 == len(data.scored) + len(data.calibration)


def test_frames_and_boxes_of_a_label_file(tmp_path):
    file = coco(tmp_path)
    prepare = Preprocessing(size=(12, 16))
    source, found = read(DataSpec(source=str(file), classes=("dog", "bird", "cat")), [0, 5], prepare)
    assert (source.count, source.detection) == (6, True)
    assert found[1].sample.shape == (3, 12, 16)
    assert int(found[1].sample[0, 0, 0]) == 5
    assert found[0].target.labels.tolist() == [3, 1]  # in the order of the model
    assert found[0].target.boxes.tolist() == [[0, 0, 8, 8], [4, 4, 12, 10]]


@pytest.mark.parametrize("make", [voc, yolo])
@pytest.mark.parametrize("where", ["beside", "together", "said"])
def test_folders_of_label_files_are_read_like_a_coco_file(tmp_path, make, where):
    known = read(DataSpec(source=str(coco(tmp_path / "coco")), classes=("dog", "bird", "cat")), [0, 5])[1]
    together = {"labels": "data", "images": "data"} if where == "together" else {}
    folder = make(tmp_path, **({"images": "elsewhere"} if where == "said" else together))
    images = str(tmp_path / "elsewhere") if where == "said" else None
    source, found = read(DataSpec(source=str(folder), images=images, classes=("dog", "bird", "cat")), [0, 5])
    assert (source.count, source.detection) == (6, True)
    for one, wanted in zip(found, known, strict=True):
        assert torch.equal(one.sample, wanted.sample)
        assert one.target.labels.tolist() == wanted.target.labels.tolist()
        assert torch.allclose(one.target.boxes, wanted.target.boxes, atol=1e-4)
        assert one.target.ignore.tolist() == [False, make is voc]


def test_a_shipped_models_classes_are_matched_by_name_and_others_refused(tmp_path):
    unknown, streets = coco(tmp_path), tmp_path / "streets.json"
    document = json.loads(unknown.read_text())
    for category, name in zip(document["categories"], ("car", "pedestrian"), strict=True):
        category["name"] = name
    streets.write_text(json.dumps(document))
    specs = [DataSpec(source=str(p), size=(6, 8), pixels="uint8", channels=3) for p in (streets, unknown)]
    found = open_data(specs[0], "fasterrcnn-tiny", nn.Identity(), frames=6, seed=0)
    assert found.classes == ("pedestrian", "car", "cyclist")
    assert found.calibration.targets[0].labels.tolist() == [2, 1]
    with pytest.raises(ConfigError, match=r"none of the 3 classes of the model \(pedestrian, car, cyclist\)"):
        open_data(specs[1], "fasterrcnn-tiny", nn.Identity(), frames=6, seed=0)


def test_a_data_set_as_yolo_lays_it_out_is_given_by_its_folder(tmp_path):
    folder = yolo(tmp_path, "labels", "images")
    source, whole = (read(DataSpec(source=str(path)), [0, 5]) for path in (folder, tmp_path))
    assert [one.target.labels.tolist() for one in whole[1]] == [one.target.labels.tolist() for one in source[1]]
    assert whole[0].count == 6


def test_a_folder_of_label_files_without_images_is_told(tmp_path):
    with pytest.raises(InputError, match="labels has no images in it, nor in images or JPEGImages beside it; say with"):
        open_source(DataSpec(source=str(yolo(tmp_path, "labels", "elsewhere"))))


def test_a_text_beside_class_folders_makes_no_labels_of_them(tmp_path):
    path = folders(tmp_path / "d", {"b": 2, "a": 3})
    (path / "README.txt").write_text("cats and dogs")
    assert open_source(DataSpec(source=str(path))).count == 5


def test_boxes_are_cut_with_their_frame(tmp_path):
    file = coco(tmp_path)
    prepare = Preprocessing(size=(6, 6), resize=6)  # 8 x 6: one column is cut off on either side
    _, found = read(DataSpec(source=str(file)), [0], prepare)
    assert found[0].target.boxes.tolist() == [[0, 0, 3, 4], [1, 2, 5, 5]]


LOADERS = """
import numpy as np, torch
def pair(): return np.zeros((6, 1, 4, 4), np.float32), [0, 1, 2, 0, 1, 2]
def named(): return {"a": torch.zeros(6, 3), "b": torch.ones(6, 2, 2)}, torch.arange(6)
class Items:
    def __len__(self): return 6
    def __getitem__(self, i): return torch.full((3, 4, 4), float(i)), i
def items(): return Items()
def boxes(): return torch.zeros(6, 3, 8, 8), [{"boxes": [[0, 0, 4, 4]], "labels": [1]}] * 6
def short(): return torch.zeros(6, 3), [0, 1]
def text(): return "samples"
def fails(): return 1 / 0
def bad_box(): return torch.zeros(6, 3, 8, 8), [{"boxes": [[0, 0, 4, 4]], "labels": [0]}] * 6
def nan(): return torch.full((6, 3), float("nan")), [0] * 6
def half(): return torch.zeros(6, 3), [0.5] * 6
def empty(): return torch.zeros(0, 3), []
def wide(): return torch.zeros(6, 2, 3, 4, 5), [0] * 6
"""


@pytest.fixture
def loaders(tmp_path, monkeypatch):
    (tmp_path / "own_loaders.py").write_text(LOADERS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("own_loaders", None)


@pytest.mark.usefixtures("loaders")
@pytest.mark.parametrize(
    ("name", "detection", "shape"),
    [("pair", False, (1, 4, 4)), ("items", False, (3, 4, 4)), ("boxes", True, (3, 8, 8))],
)
def test_functions_of_the_users_own(name, detection, shape):
    source, found = read(DataSpec(source=f"own_loaders:{name}"), [1, 3])
    assert (source.count, source.detection, found[0].sample.shape) == (6, detection, shape)
    if not detection:
        assert found[0].target == 1


@pytest.mark.usefixtures("loaders")
def test_several_inputs_of_a_function():
    _, found = read(DataSpec(source="own_loaders:named"), [2])
    assert {key: tuple(value.shape) for key, value in found[0].sample.items()} == {"a": (3,), "b": (2, 2)}


@pytest.mark.usefixtures("loaders")
@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("short", InputError, "6 samples but 2 labels"),
        ("text", InputError, "returned a str; return \\(inputs, labels\\)"),
        ("fails", ConfigError, "failed in your code: ZeroDivisionError"),
        ("bad_box", InputError, "as many labels, from 1, as boxes"),
        ("nan", InputError, "sample 0 holds NaN"),
        ("half", InputError, "label 0 is 0.5; classes are whole numbers from 0"),
        ("empty", InputError, "gives no samples"),
        ("wide", InputError, "sample 0 has shape \\(2, 3, 4, 5\\)"),
        ("absent", ConfigError, "cannot import 'absent'"),
    ],
)
def test_functions_that_give_no_samples(name, error, message):
    with pytest.raises(error, match=message) as caught:
        read(DataSpec(source=f"own_loaders:{name}"), [0])
    assert "\n" not in str(caught.value)


def _npz(path, **found):
    np.savez(path / "d.npz", **found)
    return path / "d.npz"


def _without_images(path):
    folders(path / "d", {"a": 1})
    (path / "d" / "b").mkdir()
    return path / "d"


def _cut_short(path):
    file = _npz(path, x=np.zeros((40, 100), np.uint8), y=np.zeros(40, np.int64))
    with zipfile.ZipFile(file) as whole, zipfile.ZipFile(path / "cut.npz", "w") as cut:
        cut.writestr("x.npy", whole.read("x.npy")[:-300])
        cut.writestr("y.npy", whole.read("y.npy"))
    return path / "cut.npz"


def _broken_image(path):
    folders(path / "d", {"a": 4, "b": 4})
    for name in ("a", "b"):
        for file in (path / "d" / name).iterdir():
            file.write_bytes(file.read_bytes()[:40])
    return path / "d"


def _text(path):
    (path / "d.npz").write_text("no archive")
    return path / "d.npz"


X, Y = np.zeros((10, 1, 4, 4), np.float32), np.arange(10) % 2
BAD = {
    "empty folder": (lambda p: p, "has no class folders; put images as"),
    "empty class folder": (_without_images, "class folder .*b has no images .*; remove it"),
    "unreadable image": (_broken_image, "png is not a readable image; remove or replace it"),
    "nowhere": (lambda p: p / "nowhere", "is no data that can be read; give a COCO .json, a folder"),
    "no archive": (lambda p: p / "nowhere.npz", "no file .*nowhere.npz; check the path"),
    "no json": (lambda p: p / "nowhere.json", "no file .*nowhere.json; check the path"),
    "text": (_text, "is not a readable .npz archive"),
    "no labels": (lambda p: _npz(p, x=X), "holds x; expected samples x and labels y"),
    "mismatched lengths": (lambda p: _npz(p, x=X, y=Y[:7]), "10 samples but 7 labels; give one label a sample"),
    "negative label": (lambda p: _npz(p, x=X, y=Y - 1), "label 0 is -1; classes are whole numbers from 0"),
    "labels as text": (lambda p: _npz(p, x=X, y=np.array(["a"] * 10)), "expected labels .N,. of whole numbers"),
    "one-hot labels": (lambda p: _npz(p, x=X, y=np.eye(10)), "expected labels .N,. of whole numbers but got float64"),
    "objects": (lambda p: _npz(p, x=np.array([{}] * 10, dtype=object), y=Y), "x is of type object; give uint8 or"),
    "one-dimensional": (lambda p: _npz(p, x=X[:, 0, 0, 0], y=Y), "expected x as .N, C, H, W."),
    "by columns": (lambda p: _npz(p, x=np.asfortranarray(X[:, 0]), y=Y), "stored by columns; save numpy.ascont"),
    "no samples": (lambda p: _npz(p, x=X[:0], y=Y[:0]), "holds no samples"),
    "cut short": (_cut_short, "is damaged; write it with numpy.savez"),
    "NaN": (lambda p: _npz(p, x=np.full((10, 4), np.nan), y=Y), "sample .* holds NaN or infinite values"),
    "too few": (lambda p: _npz(p, x=X[:2], y=Y[:2]), "2 samples are too few to hold out 0.2 of them"),
    "wrong channels": (lambda p: _npz(p, x=np.zeros((10, 4, 6, 6)), y=Y), "have 4 channels, the model takes 1$"),
    "coloured": (lambda p: _npz(p, x=np.zeros((10, 3, 6, 6)), y=Y), "the model takes 1; --channels 1 converts them"),
    "labels of no image": (lambda p: coco(p).rename(p / "frames" / "l.json"), "say with --images where the images"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused_says_why_in_one_line(tmp_path, name):
    make, message = BAD[name]
    spec = DataSpec(source=str(make(tmp_path)))
    with pytest.raises(InputError, match=message) as caught:
        open_data(spec, "m", nn.Conv2d(1, 2, 3), frames=10, seed=0)
    assert "\n" not in str(caught.value)


def test_classes_that_do_not_fit(tmp_path):
    path = folders(tmp_path / "d", {"a": 1, "b": 1})
    with pytest.raises(ConfigError, match="folder 'b' is none of the 2 classes"):
        open_source(DataSpec(source=str(path), classes=("a", "c")))
    with pytest.raises(ConfigError, match="category 'dog' is none of the 1 classes of the model"):
        open_source(DataSpec(source=str(coco(tmp_path / "c")), classes=("cat",)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mean": (0.5,)}, "--mean says how samples of --data are read; give --data too"),
        ({"calibration_share": 0.5}, "--calibration-share says how samples"),
        ({"source": "d.npz", "resize": 10}, "--resize 10 needs a --size that is no larger"),
        ({"source": "d.npz", "resize": 10, "size": (12, 8)}, "--resize 10 needs a --size that is no larger"),
        ({"source": "d.npz", "pixels": "uint8", "std": (1.0,)}, "leaves the bytes as they are"),
        ({"source": "d.npz", "std": (0.0,)}, "none of its numbers may be 0"),
    ],
)
def test_options_that_contradict(options, message):
    with pytest.raises(ConfigError, match=message):
        DataSpec(**options)


def test_the_calibration_samples_are_never_scored():
    data = given_data(torch.arange(100.0)[:, None], torch.zeros(100, dtype=torch.long), share=0.3, seed=4)
    assert (len(data.scored), len(data.calibration)) == (70, 30)
    assert not set(data.scored.indices) & set(data.calibration.indices)
    assert [float(sample[0]) for sample in data.scored.samples] == list(data.scored.indices)
    again = given_data(torch.arange(100.0)[:, None], torch.zeros(100, dtype=torch.long), share=0.3, seed=4)
    other = given_data(torch.arange(100.0)[:, None], torch.zeros(100, dtype=torch.long), share=0.3, seed=5)
    assert again.digest == data.digest != other.digest


def test_samples_are_chosen_evenly():
    assert evenly(range(10), 5) == [0, 2, 4, 6, 8]
    assert evenly([3, 5], 7) == [3, 5]
    scored, held_out = split(1000, 0.25, 0, "d")
    assert (len(scored), len(held_out)) == (750, 250)
    assert scored == sorted(scored)


def test_samples_that_would_fill_the_memory(monkeypatch):
    monkeypatch.setattr("nestevo_hw.studies.data.dataset.MOST_BYTES", 1000)
    with pytest.raises(InputError, match="take more than 0 GB; use fewer --frames or a smaller --size"):
        given_data(torch.zeros(50, 100), [0] * 50)
