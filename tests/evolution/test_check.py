"""A configuration that cannot run is refused before anything runs, with one clear line."""

import json
import math

import pytest
import torch
from click.testing import CliRunner

from nestevo_hw.base.errors import ConfigError, NestEvoError
from nestevo_hw.base.tensors import read_header, read_tensors, write_tensors
from nestevo_hw.cli import main
from nestevo_hw.evolution.check import check_run
from nestevo_hw.evolution.config import load_preset, override, parse_config
from nestevo_hw.evolution.run import evolve
from nestevo_hw.models.checkpoint import pretrained_path
from nestevo_hw.profiler.target import CUDA


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher.model": "absent.safetensors"}, "no checkpoint 'absent.safetensors'"),
        ({"window.length_s": 3.0}, "too few for 96 uploaded ones"),
        ({"teacher.analog": "memristor"}, "memristor"),
        ({"groups.by": "name"}, "terminal 'campus': .* needs a group for every terminal"),
        ({"groups.by": "place"}, "terminal 'campus': .* needs its position_m"),
        ({"groups.by": "features", "groups.count": 4}, "4 groups are wanted of 3 terminals"),
        (
            {"terminals": [{**t, "upload_frames": 0} for t in load_preset("quick").document()["terminals"]]},
            "upload_frames is 0 for every terminal; at least one has to send frames",
        ),
        ({"sampling.budget_frames": 50}, "50 frames do not give 3 terminals 24 each"),
        ({"method": "naive-average"}, "differ in structure"),
        ({"task": "segmentation"}, "task: input should be one of detection, classification"),
        ({"drift.false_alarm_rate": 0.001}, "needs at least 999 in-domain segments, got 20"),
        ({"reference.places": ["park"]}, "got 2; raise reference.segments_per_place, name more reference.places"),
        ({"reference.places": [], "drift.gamma": 50.0}, "no in-domain frames: .* reference.places is empty"),
        ({"teacher.model": "digits-cnn"}, "^teacher.model: expected a Faster R-CNN but got SmallClassifier"),
        ({"task": "classification"}, "^teacher.model: expected an image classifier but got FasterRCNN"),
        ({"teacher.backend": "fold"}, "fold"),
        ({"execution.profile": "absent.safetensors"}, "^execution.profile: no file absent.safetensors"),
        ({"execution.profile": __file__}, "^execution.profile: .* is not a readable safetensors file"),
        ({"execution.memory_gb": 0.5}, "^execution.memory_gb: a task takes 0.7 GB, got 0.5"),
        ({"frame_size": [4096, 4096]}, "^window: 96 uploaded and 60 test frames of 4096 x 4096 take 7.9 GB, more than"),
        (
            {"reference.places": ["campus", "atlantis"]},
            "^reference.places: unknown place 'atlantis'; choose from campus,",
        ),
        ({"execution.address": ""}, "execution.address: need auto, local or HOST:PORT, got ''"),
        ({"execution.address": "host:port"}, "execution.address: need auto, local or HOST:PORT, got 'host:port'"),
        ({"execution.address": "host:65536"}, "execution.address: need auto, local or HOST:PORT"),
        ({"link.upload_mbit_s": 0}, "link.upload_mbit_s: input should be a number from 0.001"),
    ],
)
def test_mistakes_are_found_before_the_folder_is_made(changes, message, tmp_path):
    with pytest.raises(NestEvoError, match=message):
        evolve(override(load_preset("quick"), changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


BAD_MODELS = {
    "text": (lambda path: path.write_text("PK no tensors"), "is not a readable safetensors file"),
    "torn": (lambda path: path.write_bytes(pretrained_path(M1).read_bytes()[:5000]), "is not a readable safetensors"),
    "other program": (lambda path: write_tensors(path, {"x": torch.zeros(1)}), "but not a nestevo-hw model"),
    "no weights": (lambda path: write_tensors(path, {}, read_header(pretrained_path(M1))), "is missing"),
    "NaN": (lambda path: rewritten(path, scale=math.nan), "holds NaN"),
    "huge input": (lambda path: rewritten(path, min_size=40_000), "spec: min_size: input should be a number from 16"),
    "sides swapped": (lambda path: rewritten(path, max_size=16), "min_size of at most max_size"),
    "other classes": (lambda path: rewritten(path, classes=["cat", "dog", "cow"]), "the classes cat, dog, cow but"),
}  # fmt: skip
M1 = "fasterrcnn-tiny-m1"


def rewritten(path, *, scale=1.0, **changes):
    """The shipped checkpoint with another spec, or other weights."""
    header, tensors = read_tensors(pretrained_path(M1))
    spec = json.loads(header["spec"]) | changes
    scaled = {name: tensor * scale if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    write_tensors(path, scaled, header | {"spec": json.dumps(spec)})


@pytest.mark.parametrize("kind", BAD_MODELS)
def test_checkpoints_are_read_before_the_folder_is_made(kind, tmp_path):
    write, message = BAD_MODELS[kind]
    write(tmp_path / "bad.safetensors")
    document = load_preset("quick").document()
    document["terminals"][1]["model"] = str(tmp_path / "bad.safetensors")
    with pytest.raises(NestEvoError, match=message) as caught:
        evolve(parse_config(document, source="test"), tmp_path / "run")
    assert "terminal 'village'" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("section", "key", "place"),
    [
        ("teacher", "model", "teacher.model"),
        ("execution", "profile", "execution.profile"),
        ("refresh", "chip", "refresh.chip"),
        ("", "model", "model of terminal 'campus'"),
        ("", "video", "video of terminal 'campus'"),
        ("", "labels", "labels of terminal 'campus'"),
    ],
)
def test_a_run_whose_input_is_gone_does_not_go_on(section, key, place, tmp_path):
    gone, document = str(tmp_path / "gone.toml"), load_preset("quick").document()
    terminal = document["terminals"][0]
    if key in ("video", "labels"):
        terminal |= {"place": None, "video": str(tmp_path), "drift": []}
    (document[section] if section else terminal)[key] = gone
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text(
        json.dumps({"format": 2, "status": "running", "method": "NestEvo", "config": document})
    )
    before = {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))}
    ended = CliRunner().invoke(main, ["evolve", "--resume", str(folder)])
    assert ended.exit_code == 2
    assert ended.stderr.splitlines()[-1] == (
        f"Error: {place}: {gone} was there when the run started and is not now; put it back, then resume"
    )
    assert {path: path.stat().st_mtime_ns for path in (folder, *folder.rglob("*"))} == before


def test_unknown_drift_and_absent_gpu_are_named(monkeypatch):
    document = load_preset("quick").document()
    document["terminals"][0]["drift"][0]["kind"] = "snow"
    with pytest.raises(ConfigError, match=r"\[0\].drift\[0\].kind: input should be one of fog, .* \(got 'snow'\)"):
        check_run(parse_config(document, source="test"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="torch finds no GPU here"):
        check_run(override(load_preset("quick"), {"execution.device": "cuda"}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"place": "atlantis"}, "^place of terminal 'campus': unknown place 'atlantis'; choose from campus, village,"),
        ({"labels": "nowhere.json"}, "terminal 'campus': labels and class_map are of a video; leave them out"),
        ({"class_map": {"person": "pedestrian"}}, "terminal 'campus': labels and class_map are of a video"),
    ],
)
def test_mistakes_of_a_terminal_are_named(changes, message):
    document = load_preset("quick").document()
    document["terminals"][0] |= changes
    with pytest.raises(ConfigError, match=message):
        check_run(parse_config(document, source="test"))


def test_the_default_passes():
    check_run(load_preset("quick"))


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"method": "NestEvo"}, "mutual learning, which method NestEvo needs"),
        ({"method": "A1"}, "adversarial adaptation, which method A1 needs"),
        ({"method": "A4", "labels.confirm": True}, "label confirmation, which labels.confirm needs"),
        ({"method": "A4", "compression.enabled": True}, "smaller input, which compression.enabled needs"),
    ],
)
def test_a_task_that_cannot_do_what_is_wanted_is_refused_by_name(changes, missing, monkeypatch):
    class Plain:
        name = "detection"

    monkeypatch.setattr("nestevo_hw.evolution.check.task_named", lambda _: Plain())
    with pytest.raises(ConfigError, match=f"task 'detection' has no {missing}"):
        check_run(override(load_preset("quick"), changes))


def test_on_a_gpu_memory_is_that_of_the_gpu(monkeypatch):
    """By a pretended one: the context counts, and frames, which lie in main memory, do not."""
    monkeypatch.setattr("nestevo_hw.evolution.check.target_of", lambda _: CUDA)
    config = override(load_preset("quick"), {"execution.memory_gb": 1.4})
    with pytest.raises(ConfigError, match=r"execution.memory_gb: a task takes 1.5 GB, got 1.4"):
        check_run(config)
    check_run(override(config, {"execution.memory_gb": 1.5}))
