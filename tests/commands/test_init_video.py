"""`nestevo-hw init --video`: what it writes runs as it stands, whatever the clips are."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from colour_finder import adapter, colour_finder
from PIL import Image

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.commands.evolve import evolve
from nestevo_hw.commands.init import init
from nestevo_hw.evolution.cameras import SETTLE_FRAMES, reference_frames
from nestevo_hw.evolution.check import check_run
from nestevo_hw.evolution.config import load_config, override
from nestevo_hw.evolution.own_video import LEAST_SEGMENTS, Clip, fit, map_classes
from nestevo_hw.streams.video import FILL
from tests.streams.clips import HEIGHT, WIDTH, write_clip


def run(path: Path, *words: object):
    return CliRunner().invoke(init, [str(path), *map(str, words)])


def checked(path: Path) -> None:
    """What `evolve --check` says about a configuration."""
    done = CliRunner().invoke(evolve, [str(path), "--check"])
    assert done.exit_code == 0, done.output
    assert "nothing wrong found" in done.stdout


def coco(path: Path, frames, names=("person", "truck", "dog")) -> Path:
    images = [
        {"id": k, "file_name": f"{k}", "width": WIDTH, "height": HEIGHT, "frame_index": k} for k in frames
    ]  # fmt: skip
    boxes = [{"image_id": k, "category_id": k % len(names), "bbox": [8, 8, 30, 40]} for k in frames]
    categories = [{"id": number, "name": name} for number, name in enumerate(names)]
    path.write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return path


def test_a_clip_of_five_seconds_without_labels(tmp_path):
    clip = write_clip(tmp_path / "Gate 1.mp4", 50)
    done = run(tmp_path / "a.toml", "--video", clip)
    assert done.exit_code == 0, done.output
    (terminal,) = tomllib.loads((tmp_path / "a.toml").read_text())["terminals"]
    assert (terminal["name"], terminal["fps"], "labels" in terminal) == ("Gate_1", 10, False)
    checked(tmp_path / "a.toml")


def test_labelled_clips_and_a_folder_of_images_together(tmp_path):
    clip, folder = write_clip(tmp_path / "gate.mp4", 120, fps=25), tmp_path / "yard" / "gate"
    folder.mkdir(parents=True)
    for k in range(120):
        Image.fromarray(np.full((48, 64, 3), 2 * k, np.uint8)).save(folder / f"{k}.png")
    labels = coco(tmp_path / "gate.json", range(0, 120, 2))
    yolo = tmp_path / "yolo"
    yolo.mkdir()
    (yolo / "classes.txt").write_text("Pedestrian\n")
    for k in range(0, 120, 2):
        (yolo / f"{k}.txt").write_text("0 0.5 0.5 0.2 0.3")
    done = run(tmp_path / "a.toml", "--video", clip, "--labels", labels, "--video", folder, "--labels", yolo)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "a.toml").read_text()
    first, second = tomllib.loads(text)["terminals"]
    assert (first["name"], second["name"]) == ("gate", "gate-2")
    assert first["class_map"] == {"person": "pedestrian"}
    assert second["class_map"] == {"Pedestrian": "pedestrian"}
    assert '# left out: "dog" (20 boxes, none of the models\' classes), "truck" (20 boxes, perhaps car)' in text
    settings = tomllib.loads(text)
    assert (settings["frame_size"], settings["same_size"]) == ([120, 160], False)
    assert (first["model"], second["model"]) == ("fasterrcnn-tiny-m1", "fasterrcnn-tiny-m2")
    checked(tmp_path / "a.toml")


def test_clips_of_different_shapes_are_filled_up_to_one_size(tmp_path):
    """Their in-domain frames go into the same batches; boxes stay where they were."""
    wide = write_clip(tmp_path / "wide.mp4", 60)
    tall = tmp_path / "tall"
    tall.mkdir()
    for k in range(60):
        Image.fromarray(np.full((WIDTH, HEIGHT, 3), 2 * k, np.uint8)).save(tall / f"{k}.png")
    done = run(tmp_path / "a.toml", "--video", wide, "--video", tall)
    assert done.exit_code == 0, done.output
    config = load_config(tmp_path / "a.toml")
    assert (config.frame_size, config.same_size) == ((160, 160), True)
    frames, _ = reference_frames(config)
    assert frames.images.shape[1:] == (3, 160, 160)
    first, last = frames.images[0], frames.images[-1]
    assert torch.equal(first[:, 120:], FILL.expand(3, 40, 160))
    assert torch.equal(last[:, :, 120:], FILL.expand(3, 160, 40))
    assert last[:, :, :120].unique().numel() == 1
    with pytest.raises(ConfigError, match=r"'tall' has frames of 160 x 120, but 'wide' of 120 x 160; set same_size"):
        check_run(override(config, {"same_size": False}))


@pytest.mark.parametrize(
    ("frames", "names", "told"),
    [
        (range(40, 50), ("person",), "are too few to be scored on"),
        (range(80), ("lorry",), "none of its classes is one"),
    ],
)
def test_labels_that_are_of_no_use_are_left_out_and_said(tmp_path, frames, names, told):
    clip, labels = write_clip(tmp_path / "gate.mp4", 80), coco(tmp_path / "gate.json", frames, names)
    assert run(tmp_path / "a.toml", "--video", clip, "--labels", labels).exit_code == 0
    text = (tmp_path / "a.toml").read_text()
    assert told in text
    assert "labels" not in tomllib.loads(text)["terminals"][0]
    checked(tmp_path / "a.toml")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("--video", "short.mp4"), 1, r"short.mp4 has 9 frames (0.9 s), too few for one window and in-domain frames "
         "before it, which take 42; give a longer clip"),
        (("--video", "gone.mp4"), 2, "no video gone.mp4; check the path"),
        (("--labels", "a.json"), 2, "--labels, --models and --labeller are for --video; leave them out, or give one"),
        (("--video", "a.mp4", "--preset", "paper"), 2, "--preset is not for --video"),
        (("--video", "a.mp4", "--labels", "a", "--labels", "b"), 2, "need one for each --video or one for all, got 2"),
        (("--video", "long.mp4", "--models", "."), 2, "need a folder of `nestevo-hw pretrain` with one teacher"),
    ],
)  # fmt: skip
def test_what_no_configuration_fits_is_one_line(tmp_path, monkeypatch, words, code, message):
    monkeypatch.chdir(tmp_path)
    write_clip(Path("short.mp4"), 9)
    write_clip(Path("long.mp4"), 50)
    done = run(Path("a.toml"), *words)
    assert done.exit_code == code
    assert f"Error: {done.stderr.partition('Error: ')[2]}".count("\n") == 1
    assert message in done.stderr
    assert not Path("a.toml").exists()


def clip_of(length, fps, labelled=()):
    return Clip(name="a", video="a.mp4", labels="a.json" if labelled else None, length=length, fps=fps,
                size=(96, 128), labelled=tuple(labelled), boxes={})  # fmt: skip


@pytest.mark.parametrize(
    "clips",
    [
        [clip_of(42, 10.0)],
        [clip_of(125, 25.0)],
        [clip_of(90_000, 25.0)],
        [clip_of(795, 10.0, range(0, 795, 2)), clip_of(250, 25.0, [*range(40), *range(109, 137), *range(155, 242)])],
        [clip_of(400, 29.97, range(0, 400, 7)), clip_of(100, 7.5), clip_of(3000, 12.5, range(0, 3000, 10))],
        [clip_of(500, 30.0, range(100, 300))] * 12,
    ],
)
def test_every_part_of_a_plan_lies_where_it_should(clips):
    """Counted frame by frame: uploads, then test frames that have labels, within each window and the clip."""
    chosen, plan = fit(clips)
    assert len(clips) * plan.segments_per_place >= LEAST_SEGMENTS
    for clip, start in zip(chosen, plan.starts, strict=True):
        known = set(clip.labelled or range(clip.length))
        assert len([k for k in known if k < start]) >= plan.segments_per_place * plan.frames_per_segment > 0
        for window in range(plan.windows):
            first = start + round(window * plan.length_s * clip.fps)
            last = start + round((window + 1) * plan.length_s * clip.fps)
            tested = first + (plan.upload_frames - 1) * plan.upload_spacing + SETTLE_FRAMES
            assert last <= clip.length
            assert len([k for k in known if tested <= k < last]) >= plan.test_frames > 0


def test_a_labeller_in_place_of_the_teacher(tmp_path, monkeypatch):
    """Its classes are those of the models, by meaning; what only may be meant is taken where nothing else is there."""
    monkeypatch.chdir(tmp_path)
    write_clip(Path("gate.mp4"), 50)
    adapter(Path("mine.toml"))
    colour_finder(Path("finder.onnx"), metadata={"classes": "person,car,bicycle"})
    done = run(Path("a.toml"), "--video", "gate.mp4", "--labeller", "finder.onnx", "--adapter", "mine.toml")
    assert done.exit_code == 0, done.output
    written = tomllib.loads(Path("a.toml").read_text())
    assert (written["method"], "model" in written["teacher"]) == ("terminals-only", False)
    assert written["teacher"]["labeller"] == {
        "file": "finder.onnx", "adapter": "mine.toml",
        "class_map": {"person": "pedestrian", "car": "car", "bicycle": "cyclist"},
    }  # fmt: skip
    told = CliRunner().invoke(evolve, ["a.toml", "--check"])
    assert told.stdout.startswith("nothing wrong found: 1 terminal, 1 window, labelled by finder.onnx"), told.output
    colour_finder(Path("finder.onnx"))
    refused = run(Path("b.toml"), "--video", "gate.mp4", "--labeller", "finder.onnx", "--adapter", "mine.toml")
    assert refused.exit_code == 2
    assert "--labeller: none of its classes is 'pedestrian', which the models know" in refused.stderr


def test_one_frame_less_than_the_least_is_refused():
    with pytest.raises(InputError, match=r"has 41 frames \(4.1 s\), too few .* which take 42"):
        fit([clip_of(41, 10.0)])


def test_categories_are_classes_by_meaning_and_only_where_that_is_sure():
    boxes = dict.fromkeys(("Person", "car", "rider", "truck", "bicycle", "sky"), 1)
    mapped, others = map_classes(boxes, ("pedestrian", "car", "cyclist"))
    assert mapped == {"Person": "pedestrian", "car": "car", "rider": "cyclist"}
    assert others == {"truck": "perhaps car", "bicycle": "perhaps cyclist", "sky": "none of the models' classes"}
    assert map_classes({"pedestrian": 1}, ("person",))[0] == {"pedestrian": "person"}


def test_odd_names_make_legal_terminals_and_toml(tmp_path):
    clip = write_clip(tmp_path / 'te"acher\\ #1.mp4', 50)
    for name in ("teacher.mp4", "Teacher.MP4", "___.mp4"):
        (tmp_path / name).write_bytes(clip.read_bytes())
    words = [
        word for name in (clip.name, "teacher.mp4", "Teacher.MP4", "___.mp4") for word in ("--video", tmp_path / name)
    ]
    assert run(tmp_path / "a.toml", *words).exit_code == 0
    terminals = tomllib.loads((tmp_path / "a.toml").read_text())["terminals"]
    assert [t["name"] for t in terminals] == ["te_acher___1", "teacher-2", "Teacher-3", "camera"]
    assert terminals[0]["video"] == str(clip)
