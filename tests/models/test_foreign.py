"""Foreign detectors: frames go in as the adapter says, and boxes come out in the frame's own pixels."""

from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from colour_finder import COLOURS, adapter, colour_finder, frame

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.models.checkpoint import load_pretrained
from nestevo_hw.models.names import ADAPTERS
from nestevo_hw.models.onnx.foreign import heads
from nestevo_hw.models.onnx.foreign.adapter import Taken, load_adapter
from nestevo_hw.models.onnx.foreign.detector import fitted, open_foreign
from nestevo_hw.models.onnx.foreign.heads import Seen
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.studies.export import ExportRequest, export_checkpoint
from nestevo_hw.tasks.faster_rcnn.labelling import predict


def opened(folder, given="white = 1.0", thresholds="overlap = 0.6", more="", **network):
    path = colour_finder(folder / "finder.onnx", **network)
    toml = adapter(folder / "mine.toml", given=given, thresholds=thresholds, more=more)
    return open_foreign(path, load_adapter(str(toml)), told="mine")


GIVEN = {
    "as it is": ((32, 48), "white = 1.0", {"size": (32, 48)}),
    "enlarged": ((16, 24), "white = 1.0", {"size": (64, 96)}),
    "wide, bars above and below": ((30, 60), "white = 1.0", {"size": (120, 120)}),
    "tall, one bar to the right": ((60, 30), 'white = 1.0\nalign = "corner"', {"size": (120, 120)}),
    "stretched": ((30, 60), 'white = 1.0\nfit = "stretch"', {"size": (90, 120)}),
    "255, channels last": ((30, 60), 'layout = "NHWC"', {"size": (120, 120), "channels_last": True, "white": 255.0}),
    "mean and std": ((32, 32), "mean = [127.5, 127.5, 127.5]\nstd = [127.5, 127.5, 127.5]", {"white": 1e-6}),
}


@pytest.mark.parametrize(("size", "given", "network"), GIVEN.values(), ids=GIVEN)
def test_boxes_come_back_in_pixels_of_the_frame(size, given, network, tmp_path):
    detector = opened(tmp_path, given, **network)
    wanted = {"red": (2, 4, 10, 12), "blue": (12, 6, 20, 14)}
    (found,) = detector.predict(frame(size, **wanted)[None])
    assert sorted(found["labels"].tolist()) == [1, 3]
    assert found["scores"].tolist() == pytest.approx([0.9, 0.9])
    for label, box in zip(found["labels"].tolist(), found["boxes"].tolist(), strict=True):
        assert box == pytest.approx(wanted[COLOURS[label - 1]], abs=0.6)  # an edge between two pixels may go either way


def test_colours_and_class_map(tmp_path):
    seen = frame((32, 32), red=(0, 0, 8, 8), green=(10, 10, 20, 20))
    (found,) = opened(tmp_path, 'white = 1.0\ncolour = "bgr"').predict(seen[None])
    assert sorted(found["labels"].tolist()) == [2, 3]
    mapped = opened(tmp_path, more='class_map = { red = "warm", blue = "cold" }\n')
    assert mapped.classes == ("warm", "cold")
    (found,) = mapped.predict(seen[None])
    assert found["labels"].tolist() == [1]
    with pytest.raises(ConfigError, match="no class 'pink'; it has red, green, blue"):
        opened(tmp_path, more='class_map = { pink = "warm" }\n')


def test_scores_that_are_none_are_told(tmp_path):
    detector = opened(tmp_path, certainty=3.5)
    with pytest.raises(InputError, match=r"scores go up to 3\.5, expected 0 to 1"):
        detector.predict(frame((32, 32), red=(0, 0, 8, 8))[None])


def test_classes_that_share_a_name_are_suppressed_together(tmp_path):
    both = frame((32, 32), red=(4, 4, 20, 20), green=(4, 4, 20, 20))
    (apart,) = opened(tmp_path).predict(both[None])
    (joined,) = opened(tmp_path, more='class_map = { red = "warm", green = "warm" }\n').predict(both[None])
    assert (len(apart["labels"]), joined["labels"].tolist()) == (2, [1])


NAMED = ({"classes": "a, b,c"}, {"names": "{2: 'c', 0: 'a', 1: 'b'}"}, {"classes": '{"1": "a", "2": "b", "10": "c"}'})


@pytest.mark.parametrize("metadata", NAMED)
def test_classes_from_the_file(metadata, tmp_path):
    assert opened(tmp_path, metadata=metadata).classes == ("a", "b", "c")


def test_letterbox_numbers():
    pixels, moved, larger = fitted(frame((10, 20), red=(0, 0, 20, 10)), Taken(pad=114, white=1.0), (40, 40))
    assert (moved, larger) == ((0, 10), (2.0, 2.0))
    assert pixels.shape == (1, 3, 40, 40)
    assert pixels[0, 0, 10:30].unique().tolist() == [1.0]
    assert pixels[0, :, :10].unique().tolist() == pytest.approx([114 / 255])


REFUSED = {
    "size": ("white = 1.0\nsize = [64, 64]", {}, "",
             r"input 'image': expected float32 \(1, 3, 64, 64\) as NCHW, found float32 \(1, 3, 32, 32\)"),
    "layout": ('white = 1.0\nlayout = "NHWC"', {}, "", r"\(1, H, W, 3\) as NHWC, found float32 \(1, 3, 32, 32\)"),
    "dtype": ('dtype = "uint8"', {}, "", "expected uint8"),
    "classes": ("white = 1.0", {}, 'classes = ["a", "b"]\n', r"'scores': expected \(places, 2\), found \(1, 3, 3\)"),
    "no classes": ("white = 1.0", {"metadata": {}}, "", "does not name its classes"),
    "same classes": ("white = 1.0", {"metadata": {"classes": "a,a,b"}}, "", "does not name its classes"),
}  # fmt: skip


@pytest.mark.parametrize(("given", "network", "more", "why"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_with_what_was_expected_and_found(given, network, more, why, tmp_path):
    with pytest.raises((InputError, ConfigError), match=why):
        opened(tmp_path, given, more=more, **network)


def test_outputs_of_another_name_or_shape(tmp_path):
    path = colour_finder(tmp_path / "finder.onnx")
    with pytest.raises(InputError, match=r"an output 'output0', found 'boxes' \(1, 3, 4\), 'scores' \(1, 3, 3\)"):
        open_foreign(path, load_adapter("yolov8"), told="yolov8")
    file = onnx.load(path)
    file.graph.output[0].name, file.graph.output[1].name = "output0", "other"
    for node in file.graph.node:
        node.output[:] = [{"boxes": "output0", "scores": "other"}.get(name, name) for name in node.output]
    onnx.save(file, path)
    with pytest.raises(InputError, match=r"yolov8 has it: output 'output0': expected \(7, places\), found \(1, 3, 4\)"):
        open_foreign(path, load_adapter("yolov8"), told="yolov8")
    (tmp_path / "no.onnx").write_bytes(b"none")
    with pytest.raises(InputError, match="cannot be run by ONNX Runtime"):
        open_foreign(tmp_path / "no.onnx", load_adapter("nanodet"), told="nanodet")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "outputs: "),
        ('[outputs]\nkind = "magic"', "outputs"),
        ('[outputs]\nkind = "rows"\noutput = "y"\nnonsense = 1', "nonsense"),
        ('[outputs]\nkind = "rows"\noutput = "y"\n[input]\nmean = [1, 2]', "mine.toml: input.mean: need three numbers"),
        ('[outputs]\nkind = "rows"\noutput = "y"\n[input]\ndtype = "uint8"\nwhite = 1.0', "bytes go in as they are"),
        ('[outputs]\nkind = "rows"\noutput = "y"\n[input]\nstd = [1, 0, 1]', "above 0"),
        ('[outputs]\nkind = "rows"\noutput = "y"\n[thresholds]\nscore = 2', "from 0 to 1"),
        ('classes = 3\n[outputs]\nkind = "rows"\noutput = "y"', "classes"),
    ],
)  # fmt: skip
def test_adapters_with_something_wrong_in_them(text, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ConfigError, match=why):
        load_adapter("mine.toml")


def test_the_shipped_adapters_are_those_that_are_named():
    assert all(load_adapter(name).title for name in ADAPTERS)
    assert {Path(file.name).stem for file in (resources.files("nestevo_hw") / "data" / "adapters").iterdir()} == set(
        ADAPTERS
    )
    with pytest.raises(ConfigError, match="unknown adapter 'magic'; choose from deployed, nanodet"):
        load_adapter("magic")


def test_a_deployed_model_labels_as_it_is(tmp_path):
    export_checkpoint(ExportRequest(checkpoint="fasterrcnn-tiny-m3", out=tmp_path / "d"))
    detector = open_foreign(tmp_path / "d" / "model.onnx", load_adapter("deployed"), told="deployed")
    assert detector.classes == ("pedestrian", "car", "cyclist")
    image = SyntheticStream(name="a", place="campus", seed=3, size=(128, 160)).read([40]).images
    (expected,) = predict(load_pretrained("fasterrcnn-tiny-m3"), image)
    sure = expected["scores"] >= 0.5
    (found,) = detector.predict(image)
    assert len(found["labels"]) == int(sure.sum()) > 0
    assert torch.allclose(found["boxes"], expected["boxes"][sure], atol=0.01)
    assert torch.equal(found["labels"], expected["labels"][sure])


SEEN = Seen(size=(64, 96), classes=3, least=0.2)
RANDOM = np.random.default_rng(4)


def places(count=5):
    corner, size = RANDOM.uniform(0, 40, (count, 2)), RANDOM.uniform(5, 20, (count, 2))
    return np.concatenate([corner, corner + size], 1), RANDOM.uniform(0, 1, (count, 3))


def same(found, boxes, scores):
    """Every class of every place from the least score on, place by place."""
    wanted = [(p, k) for p in range(len(scores)) for k in range(3) if scores[p, k] >= SEEN.least]
    assert found.labels.tolist() == [k + 1 for _, k in wanted]
    assert np.allclose(found.boxes, [boxes[p] for p, _ in wanted], atol=1e-3)
    assert np.allclose(found.scores, [scores[p, k] for p, k in wanted], atol=1e-5)


def tensors(**arrays):
    return {name: torch.from_numpy(np.asarray(array, dtype=np.float32)) for name, array in arrays.items()}


def test_dense_outputs_of_both_kinds():
    boxes, scores = places()
    centred = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)
    eight = np.concatenate([centred, scores], 1).T[None]
    same(load_adapter("yolov8").outputs.read(tensors(output0=eight), SEEN), boxes, scores)
    certain = RANDOM.uniform(0.3, 1, (5, 1))
    five = np.concatenate([centred, certain, scores], 1)[None]
    same(load_adapter("yolov5").outputs.read(tensors(output0=five), SEEN), boxes, scores * certain)


def test_scored_outputs_relative_and_with_background():
    boxes, scores = places()
    head = heads.Scored(
        kind="scored", boxes="b", scores="s", box="xywh", relative=True, activation="softmax", background="first"
    )
    shares = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], 1) / [96, 64, 96, 64]
    raw = np.concatenate([RANDOM.normal(size=(5, 1)), RANDOM.normal(size=(5, 3)) * 3], 1)
    mine = np.exp(raw) / np.exp(raw).sum(1, keepdims=True)
    same(head.read(tensors(b=shares[None], s=raw[None]), SEEN), boxes, mine[:, 1:])
    assert scores.shape == (5, 3)


def test_rows_and_separate_outputs_drop_what_only_fills_them_up():
    boxes, _ = places(4)
    rows = np.concatenate([boxes, [[0.9], [0.8], [0.1], [0.9]], [[0], [2], [1], [-1]]], 1)
    found = load_adapter("rows").outputs.read(tensors(output0=rows[None]), SEEN)
    assert (found.labels.tolist(), np.allclose(found.boxes, boxes[:2], atol=1e-3)) == ([1, 3], True)
    separate = load_adapter("deployed").outputs
    found = separate.read(tensors(boxes=boxes, labels=[1, 3, 2, 4], scores=[0.9, 0.8, 0.1, 0.9]), SEEN)
    assert found.labels.tolist() == [1, 3]
    with pytest.raises(InputError, match="as many places in all outputs, found 4 in boxes, 3 in labels, 4 in scores"):
        separate.read(tensors(boxes=boxes, labels=[1, 3, 2], scores=[0.9, 0.8, 0.1, 0.9]), SEEN)


@pytest.mark.parametrize("form", ["joined", "by stride", "grids"])
def test_distributions_against_their_definition(form):
    """Cell by cell, as Li et al. define it: the expected distance to each side, times the stride."""
    strides, bins, centre = (16, 32), 5, 0.5
    cells = [(x, y, s) for s in strides for y in range(64 // s) for x in range(96 // s)]
    scores, raw = RANDOM.uniform(0, 1, (len(cells), 3)), RANDOM.normal(size=(len(cells), 4 * bins)) * 2
    boxes = []
    for (x, y, s), row in zip(cells, raw, strict=True):
        each = np.exp(row.reshape(4, bins))
        far = [sum(n * each[i, n] for n in range(bins)) / each[i].sum() * s for i in range(4)]
        cx, cy = (x + centre) * s, (y + centre) * s
        boxes.append((cx - far[0], cy - far[1], cx + far[2], cy + far[3]))
    first = sum(s == 16 for *_, s in cells)
    given = {name: table[None, part] for letter, table in (("s", scores), ("d", raw))
             for name, part in ((f"{letter}16", slice(first)), (f"{letter}32", slice(first, None)))}  # fmt: skip
    if form == "joined":
        given = {"y": np.concatenate([scores, raw], 1)[None]}
    if form == "grids":
        given = {
            name: table[0].T.reshape(1, -1, 64 // int(name[1:]), 96 // int(name[1:])) for name, table in given.items()
        }
    names = (("y",), ("y",)) if form == "joined" else (("s16", "s32"), ("d16", "d32"))
    head = heads.Distribution(kind="distribution", scores=names[0], distances=names[1], strides=strides, bins=bins)
    same(head.read(tensors(**given), SEEN), boxes, scores)
    with pytest.raises(InputError, match=r"expected as many places|expected \(places"):
        head.read(tensors(**{name: value[:, :-1] for name, value in given.items()}), SEEN)
