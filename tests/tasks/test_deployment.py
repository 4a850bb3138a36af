"""A deployment says what goes in, is as it says, and answers to every frame."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from nestevo_hw.base.errors import InputError, NestEvoError
from nestevo_hw.models.checkpoint import load_model, pretrained_path
from nestevo_hw.models.names import PRETRAINED
from nestevo_hw.models.onnx.export import open_session
from nestevo_hw.models.onnx.manifest import MODEL, Version, read_manifest
from nestevo_hw.studies.quantise import Samples, deploy_quantised
from nestevo_hw.tasks import deployment
from nestevo_hw.tasks.deployment import Deployment, deploy, open_deployed
from nestevo_hw.tasks.named import task_named

HOW = Deployment(version=Version(run="0123456789ab", window=2, terminal="campus"), colour="bgr", score=0.6)
DIGITS = task_named("classification")


def deployed(folder, name="digits-cnn-m3", how=HOW, task=None, size=None):
    """Task, model, some frames and manifest of a shipped model."""
    task = task or task_named("classification" if name.startswith("digits") else "detection")
    model, spec = load_model(pretrained_path(name))
    stream = task.embedded_stream(name="a", place="campus", seed=5, size=size or task.embedded.frame_size)
    images = stream.read([0, 30, 60, 90]).images
    return task, model, images, deploy(task, model, spec, folder, images[0], how)


def test_manifest_and_metadata_say_the_same_and_fit_the_file(tmp_path):
    *_, manifest = deployed(tmp_path)
    assert read_manifest(tmp_path) == manifest
    told = json.loads((tmp_path / "manifest.json").read_text())
    assert told["input"] == {
        "name": "frames", "layout": "NHWC", "dtype": "uint8", "range": [0, 255], "colour": "bgr", "size": None,
        "scaled_to": [32, 32], "frames": None,
    }  # fmt: skip
    assert told["version"] == {"run": "0123456789ab", "window": 2, "terminal": "campus"}
    assert told["classes"]["1"] == "0"
    assert told["thresholds"] == {"score": 0.6}
    inside = {p.key: p.value for p in onnx.load(tmp_path / MODEL).metadata_props}
    assert {k: v if isinstance(told[k], str) else json.loads(v) for k, v in inside.items()} == {
        k: v for k, v in told.items() if k not in ("model", "sha256")
    }
    (taken,) = open_session(tmp_path / MODEL).get_inputs()
    assert (taken.name, taken.type, len(taken.shape)) == ("frames", "tensor(uint8)", 4)


def test_a_classifier_takes_any_number_of_frames_and_says_0_where_it_is_not_sure(tmp_path):
    task, model, images, _ = deployed(tmp_path, how=replace(HOW, score=0.9))
    frames = np.ascontiguousarray(images.permute(0, 2, 3, 1).numpy()[..., ::-1])
    labels, scores = open_session(tmp_path / MODEL).run(None, {"frames": frames})
    expected = task.predict(model, images)
    assert np.allclose(scores, [float(p["scores"]) for p in expected], atol=1e-4)
    assert labels.tolist() == [int(p["labels"]) if float(p["scores"]) >= 0.9 else 0 for p in expected]


class CountsOnOne(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, images):
        return self.model(images).reshape(1, 10)


def test_a_network_that_counts_on_one_image_is_given_one(tmp_path):
    model, spec = load_model(pretrained_path("digits-cnn-m3"))
    example = DIGITS.embedded_stream(name="a", place="campus", seed=5, size=(32, 32)).read([0]).images[0]
    assert deploy(DIGITS, CountsOnOne(model), spec, tmp_path, example, HOW).input.frames == 1
    assert len(open_deployed(DIGITS, tmp_path).predict(example[None])) == 1


class WithoutFrames:
    """Has what every task has, and no capability."""

    def __getattr__(self, name):
        return getattr(DIGITS, name)


@pytest.mark.parametrize(("task", "how"), [(WithoutFrames(), HOW), (DIGITS, replace(HOW, floats=True))])
def test_floats_where_a_task_or_the_user_wants_them(task, how, tmp_path):
    task, model, images, manifest = deployed(tmp_path, how=how, task=task)
    assert (manifest.input.dtype, manifest.input.size, manifest.input.colour) == ("float32", (32, 32), "rgb")
    for mine, there in zip(task.predict(model, images), open_deployed(task, tmp_path).predict(images), strict=True):
        assert torch.allclose(mine["scores"], there["scores"], atol=1e-4)
        assert torch.equal(mine["labels"], there["labels"])


def test_what_is_not_as_written_is_refused(tmp_path):
    deployed(tmp_path)
    whole = (tmp_path / MODEL).read_bytes()
    (tmp_path / MODEL).write_bytes(whole[:-1] + b"?")
    with pytest.raises(InputError, match="not the file that its manifest describes"):
        open_deployed(DIGITS, tmp_path)
    (tmp_path / MODEL).unlink()
    with pytest.raises(InputError, match=r"no file 'model\.onnx'"):
        open_deployed(DIGITS, tmp_path)
    told = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "manifest.json").write_text(json.dumps(told | {"sha256": {"../secret": "0"}}))
    with pytest.raises(InputError, match=r"names no 'model\.onnx'"):
        open_deployed(DIGITS, tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps(told | {"format": "else"}))
    with pytest.raises(InputError, match="format: expected"):
        open_deployed(DIGITS, tmp_path)


def test_a_file_that_differs_from_its_model_is_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(deployment, "unmatched", lambda *_: 1)
    with pytest.raises(NestEvoError, match="disagree"):
        deployed(tmp_path)
    assert not [*tmp_path.iterdir()]


QUICK = ("digits-cnn-m3", "fasterrcnn-tiny-m3")
SHIPPED = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PRETRAINED]


def floats_of(shape):
    """Frames of every kind, some of them none."""
    noise = np.random.default_rng(2).random(shape).astype(np.float32)
    yield from (np.zeros_like(noise), np.ones_like(noise), noise, noise * 255)
    for value in (np.nan, np.inf, -np.inf, -1.0, 1e30):
        spoilt = noise.copy()
        spoilt[..., :20, :20] = value
        yield from (np.full_like(noise, value), spoilt)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_model_gives_a_sane_answer_to_every_float(name, tmp_path):
    *_, images, manifest = deployed(tmp_path, name, replace(HOW, floats=True))
    session = open_session(tmp_path / MODEL)
    shape = (1, *images.shape[1:]) if manifest.input.layout == "NCHW" else images.shape[1:]
    for frame in floats_of(shape):
        for value in session.run(None, {"image": frame}):
            assert np.isfinite(value).all()


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("int8", [False, True], ids=["float", "int8"])
def test_every_shipped_model_gives_a_sane_answer_to_all_bytes(name, int8, tmp_path):
    task, *_, manifest = deployed(tmp_path, name)
    if int8:
        frame = task.embedded_stream(name="a", place="campus", seed=1, size=task.embedded.frame_size).read([0, 40])
        samples = Samples(
            calibration=tuple(frame.images), scored=tuple(frame.images[:1]), truth=None, told="two frames"
        )
        manifest = deploy_quantised(task, tmp_path, manifest, samples, tmp_path / "int8")
        tmp_path = tmp_path / "int8"
    session = open_session(tmp_path / MODEL)
    for shape in ((1, 1, 3), (200, 90, 3), (480, 640, 3)):
        noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        for frame in (np.zeros_like(noise), np.full_like(noise, 255), noise):
            given = frame if manifest.input.layout == "HWC" else frame[None]
            found = dict(zip(manifest.outputs, session.run(None, {manifest.input.name: given}), strict=True))
            assert set(found["labels"].tolist()) <= {0, *map(int, manifest.classes)}
            assert ((found["scores"] >= 0) & (found["scores"] <= 1)).all()
            if "boxes" in found:
                assert (found["scores"] >= 0.6).all()
                assert np.all((found["boxes"] >= 0) & (found["boxes"] <= [shape[1], shape[0]] * 2))
    assert task.name == manifest.task
