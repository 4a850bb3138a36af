"""An 8-bit deployment: smaller, told in its manifest, and near the float one in what it finds."""

import json
import shutil

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner
from onnx import numpy_helper
from PIL import Image

from nestevo_hw.commands.export import export
from nestevo_hw.models.checkpoint import load_model, pretrained_path
from nestevo_hw.models.onnx.manifest import MODEL, read_manifest
from nestevo_hw.streams.digits import DigitStream
from nestevo_hw.studies.quantise import calibration_samples
from nestevo_hw.tasks.deployment import open_deployed
from nestevo_hw.tasks.named import task_named

DIGITS = task_named("classification")
SPEC = load_model(pretrained_path("digits-cnn-m3"))[1]


def ran(*words):
    return CliRunner().invoke(export, [str(word) for word in words])


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """The float and the 8-bit deployment of a classifier, and what was told of the second."""
    folder = tmp_path_factory.mktemp("both")
    assert ran("digits-cnn-m3", "--out", folder / "float").exit_code == 0
    done = ran("digits-cnn-m3", "--out", folder / "int8", "--int8")
    assert done.exit_code == 0, done.output
    return folder / "float", folder / "int8", done.stdout


def test_manifest_metadata_and_words_say_what_was_measured(both):
    whole, folder, told = both
    document = json.loads((folder / "manifest.json").read_text())
    found = document["quantised"]
    assert found["layers"] == 5
    assert found["float_layers"] == ["/head/Gemm"]
    assert (found["metric"], found["calibrated_on"]) == ("accuracy", "32 frames of the embedded stream")
    assert found["score"] >= found["float_score"] - 0.05 > 0.8
    assert found["bytes"] == (folder / MODEL).stat().st_size < found["float_bytes"]
    assert found["float_bytes"] == (whole / MODEL).stat().st_size
    assert f"{found['score']:.3f}, float {found['float_score']:.3f}" in told
    assert read_manifest(folder).task == "classification"  # checksums hold
    inside = {p.key: p.value for p in onnx.load(folder / MODEL).metadata_props}
    assert json.loads(inside["quantised"]) == found
    assert {path.name for path in folder.iterdir()} == {MODEL, "manifest.json"}


def test_it_names_the_digits_that_the_float_model_names(both):
    frames = DigitStream(name="a", place="campus", seed=9, size=(40, 56)).read(range(60)).images
    one, other = (open_deployed(DIGITS, folder).predict(frames) for folder in both[:2])
    same = [torch.equal(a["labels"], b["labels"]) for a, b in zip(one, other, strict=True)]
    assert sum(same) >= 56
    apart = [abs(float(a["scores"]) - float(b["scores"])) for a, b in zip(one, other, strict=True)]
    assert max(apart) > 0  # it is another model
    assert np.median(apart) < 0.05


def test_weights_are_bytes_with_a_scale_a_channel(both):
    """Their error is at most half a step of their channel: int8 with the largest weight at 127."""
    whole, small = (onnx.load(folder / MODEL) for folder in both[:2])
    floats = {t.name: numpy_helper.to_array(t) for t in whole.graph.initializer}
    bytes_ = {t.name: numpy_helper.to_array(t) for t in small.graph.initializer}
    checked = 0
    for name, stored in bytes_.items():
        if stored.dtype == np.int8 and name.endswith("_quantized") and stored.ndim == 4:
            weight, scale = floats[name.removesuffix("_quantized")], bytes_[name.replace("_quantized", "_scale")]
            steps = scale[:, None, None, None]
            assert np.abs(stored * steps - weight).max(axis=(1, 2, 3)) == pytest.approx(
                0, abs=float(scale.max()) * 0.51
            )
            assert np.allclose(scale, np.abs(weight).max(axis=(1, 2, 3)) / 127, rtol=0.01)
            checked += 1
    assert checked == 3


def test_frames_of_the_users_own(tmp_path):
    stream = DigitStream(name="a", place="campus", seed=2, size=(32, 32))
    batch = stream.read(range(12))
    (tmp_path / "frames").mkdir()
    for number, (image, truth) in enumerate(zip(batch.images, batch.truth, strict=True)):
        shown = Image.fromarray(image.permute(1, 2, 0).numpy())
        shown.save(tmp_path / "frames" / f"{number}.png")
        folder = tmp_path / "classes" / str(int(truth.labels) - 1)
        folder.mkdir(parents=True, exist_ok=True)
        shown.save(folder / f"{number}.png")
    alone = ran("digits-cnn-m3", "--out", tmp_path / "a", "--int8", "--calibrate", tmp_path / "frames", "--json")
    found = json.loads(alone.stdout)["quantised"]
    assert (found["scored_on"], found["float_score"]) == ("6 other frames, against what the float model finds", 1.0)
    assert found["metric"] == "agreement, accuracy"
    taught = ran("digits-cnn-m3", "--out", tmp_path / "b", "--int8", "--calibrate", tmp_path / "classes", "--json")
    assert taught.exit_code == 0, taught.output
    found = json.loads(taught.stdout)["quantised"]
    assert "against labels" in found["scored_on"]
    assert found["float_score"] > 0.6


@pytest.mark.parametrize(
    ("frames", "calibration", "scored"), [(2, 1, 1), (12, 6, 6), (95, 32, 63), (131, 32, 99), (200, 32, 100)]
)
def test_a_recording_gives_as_many_frames_to_calibrate_and_score_with_as_are_said(
    frames, calibration, scored, tmp_path
):
    for number in range(frames):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    found = calibration_samples(str(tmp_path), DIGITS, SPEC, torch.zeros(3, 8, 8, dtype=torch.uint8))
    assert (len(found.calibration), len(found.scored)) == (calibration, scored)
    shown = [{int(image[0, 0, 0]) for image in part} for part in (found.calibration, found.scored)]
    assert len(shown[0] | shown[1]) == calibration + scored


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--int8", "--floats"), "leave --floats out"),
        (("--calibrate", "frames"), "--calibrate is for --int8"),
        (("--int8", "--images", "one"), "--images is where those of --calibrate are"),
        (("--floats", "--colour", "bgr"), "leave them or --floats out"),
        (("--floats", "--score", "0.9"), "leave them or --floats out"),
        (("--int8", "--calibrate", "elsewhere/labels.json"), "say with --images"),
        (("--int8", "--calibrate", "elsewhere/labels.json", "--images", "one"), "the model knows 0"),
        (("--int8", "--calibrate", "nowhere.mp4"), "nowhere.mp4"),
        (("--int8", "--calibrate", "labels.json"), "the model knows 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, not person"),
        (("--int8", "--calibrate", "one"), "give more to calibrate with"),
        (("--int8", "--calibrate", "table.npz"), "samples are no images of bytes"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line_and_leaves_nothing(words, why, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").mkdir()
    Image.new("RGB", (32, 32)).save("one/1.png")
    (tmp_path / "labels.json").write_text(json.dumps({
        "categories": [{"id": 1, "name": "person"}], "annotations": [],
        "images": [{"id": 1, "file_name": "one/1.png", "width": 32, "height": 32}],
    }))  # fmt: skip
    (tmp_path / "elsewhere").mkdir()
    shutil.copy("labels.json", "elsewhere")
    np.savez("table.npz", x=np.zeros((9, 4), dtype=np.float32), y=np.arange(9))
    refused = ran("digits-cnn-m3", "--out", "d", *words)
    assert refused.exit_code in (1, 2)
    assert why in refused.stderr
    assert refused.stderr.splitlines()[-1].startswith("Error: ")
    assert not (tmp_path / "d").exists()
