"""A terminal's own signals, against the server's way to the same figures."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nestevo_hw.evolution.trigger import sense_accuracy
from nestevo_hw.models.checkpoint import load_model, resolve_checkpoint
from nestevo_hw.models.onnx.manifest import Version
from nestevo_hw.streams.digits import DigitStream
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.tasks.deployment import Deployment, deploy
from nestevo_hw.tasks.metrics import mean_average_precision
from nestevo_hw.tasks.named import task_named
from nestevo_hw.terminals.judging import judge, mean_precision
from nestevo_hw.terminals.runtime import Deployed, Found

BOX = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(4, 30), st.integers(4, 30), st.integers(1, 2))


def found(boxes, scores):
    rows = np.array([(x, y, x + w, y + h) for x, y, w, h, _ in boxes], np.float32).reshape(-1, 4)
    return Found(rows, np.array([b[4] for b in boxes], np.int64), np.array(scores, np.float32))


@st.composite
def scenes(draw):
    predictions, truth, ignored = [], [], []
    for _ in range(draw(st.integers(1, 4))):
        boxes = draw(st.lists(BOX, max_size=6))
        scores = [draw(st.integers(1, 1000)) / 1000 for _ in boxes]
        objects = draw(st.lists(BOX, max_size=5)) + draw(
            st.lists(st.sampled_from(boxes), max_size=3) if boxes else st.just([])
        )
        predictions.append(found(boxes, scores))
        truth.append(found(objects, [1.0] * len(objects)))
        regions = draw(st.lists(BOX, max_size=2))
        ignored.append(found(regions, [1.0] * len(regions)))
    return predictions, truth, ignored


@settings(max_examples=80, deadline=None)
@given(scenes())
def test_precision_is_that_of_coco(scene):
    predictions, truth, ignored = scene
    as_torch = [
        {"boxes": torch.from_numpy(p.boxes), "labels": torch.from_numpy(p.labels), "scores": torch.from_numpy(p.scores)}
        for p in predictions
    ]
    annotations = [
        Annotation(
            boxes=torch.from_numpy(np.concatenate([t.boxes, i.boxes])),
            labels=torch.from_numpy(np.concatenate([t.labels, i.labels])),
            ignore=torch.arange(len(t.labels) + len(i.labels)) >= len(t.labels),
        )
        for t, i in zip(truth, ignored, strict=True)
    ]  # fmt: skip
    expected = mean_average_precision(as_torch, annotations, 2).map50
    scores = np.concatenate([p.scores for p in predictions])
    if len(np.unique(scores)) == len(scores):  # the order of ties is anybody's
        assert mean_precision(predictions, truth, ignored) == pytest.approx(
            0.0 if np.isnan(expected) else expected, abs=1e-6
        )


@pytest.mark.parametrize(("name", "task"), [("fasterrcnn-tiny-m3", "detection"), ("digits-cnn-m3", "classification")])
def test_a_terminal_judges_its_model_as_the_server_would(name, task, tmp_path):
    if task == "detection":
        stream = SyntheticStream(name="a", place="campus", seed=3, size=(128, 160))
    else:
        stream = DigitStream(name="a", place="campus", seed=3, size=(32, 32), drift=None, role="terminal")
    images = stream.read(list(range(0, 240, 40))).images
    model, spec = load_model(resolve_checkpoint(name))
    how = Deployment(version=Version(run="a", window=None, terminal="a"))
    deploy(task_named(task), model, spec, tmp_path / "deployed", images[0], how)
    expected = sense_accuracy(task_named(task), model, images, len(spec.classes))
    got = judge(Deployed(tmp_path / "deployed"), [image.permute(1, 2, 0).numpy() for image in images])
    assert got.agreement == pytest.approx(expected.agreement, abs=0.03)
    assert got.confidence == pytest.approx(expected.confidence, abs=0.02)
    assert got.agreement > 0.3
