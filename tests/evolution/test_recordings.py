"""What is odd about recordings and their labels is refused before a run begins, or said on stderr and in its record."""

import contextlib
import json
import os

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from nestevo_hw.base.errors import InputError
from nestevo_hw.commands.evolve import evolve
from nestevo_hw.evolution import run
from nestevo_hw.evolution.check import check_run
from nestevo_hw.evolution.config import load_preset, override, parse_config
from nestevo_hw.evolution.pretrain_frames import video_source
from nestevo_hw.evolution.rendering import one_by_one
from nestevo_hw.report.events import read_run
from nestevo_hw.report.records.recording import Labels
from nestevo_hw.report.tables import troubles_table


@pytest.fixture
def recording(tmp_path):
    """A folder of 60 labelled images, with one box that lies outside of its frame and one of a class left out."""
    folder = tmp_path / "gate"
    folder.mkdir()
    for k in range(60):
        Image.fromarray(np.full((48, 64, 3), 4 * k, np.uint8)).save(folder / f"{k}.png")
    images = [{"id": k, "file_name": f"gate/{k}.png", "width": 64, "height": 48} for k in range(60)]
    boxes = [{"image_id": k, "category_id": 1, "bbox": [4, 4, 10, 10]} for k in range(60)]
    boxes += [{"image_id": 5, "category_id": k, "bbox": [70, 4, 10, 10]} for k in (1, 2)]
    categories = [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}]
    labels = {"images": images, "annotations": boxes, "categories": categories}
    (tmp_path / "gate.json").write_text(json.dumps(labels))
    return folder


def config(recording):
    terminal = {
        "name": "gate", "model": "fasterrcnn-tiny-m1", "video": str(recording),
        "labels": str(recording.with_suffix(".json")), "class_map": {"person": "pedestrian"}, "start_frame": 20,
    }  # fmt: skip
    settings = {
        "window.count": 1, "window.length_s": 4.0, "window.upload_frames": 4, "window.test_frames": 3,
        "window.upload_spacing": 2, "reference.segments_per_place": 2, "reference.frames_per_segment": 4,
        "drift.gamma": 0.5,
    }  # fmt: skip
    return override(parse_config({**load_preset("quick").document(), "terminals": [terminal]}, source="t"), settings)


def dropped(recording):
    return f"labels {recording.with_suffix('.json')}: 1 boxes dropped (1 outside the frame), the first in 'gate/5.png'"


def test_dropped_boxes_are_said_on_stderr_and_recorded(recording, tmp_path, monkeypatch):
    class StopError(Exception):
        pass

    def stop(*_):
        raise StopError

    monkeypatch.setattr(run, "open_executor", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(run, "TaskCosts", stop)
    monkeypatch.setattr("nestevo_hw.evolution.presets.config_document", lambda _: config(recording).document())
    (tmp_path / "evolve.toml").touch()
    result = CliRunner().invoke(evolve, [str(tmp_path / "evolve.toml"), "--out", str(tmp_path / "run"), "--json"])
    assert isinstance(result.exception, StopError)
    assert result.stderr == f"Warning: {dropped(recording)}\n"
    found = read_run(tmp_path / "run")
    (labels,) = found.of(Labels)
    assert (labels.terminal, labels.frames, labels.boxes) == ("gate", 60, 60)
    assert (labels.left_out, labels.dropped) == ({"dog": 1}, {"outside the frame": 1})
    assert troubles_table(found).rows == [("", "gate", "labels", dropped(recording))]


def test_pretraining_says_it_too(recording):
    told = []
    labels, mapping = recording.with_suffix(".json"), {"person": "person"}
    source = video_source(recording, labels, mapping, long_side=64, until=None, on_warning=told.append)
    assert [len(frames) for frames in source.read(one_by_one)] == [source.count, 12] == [48, 12]
    assert told == [dropped(recording)]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: Image.new("RGB", (48, 64)).save(path), "is 64 x 48, but frame 20 of .* is 48 x 64 as"),
        (lambda path: path.write_bytes(b"no image"), r"20\.png is not a readable image"),
        (os.mkfifo, r"20\.png is not a file"),
    ],
)  # fmt: skip
def test_a_frame_that_a_window_needs_is_looked_at_before_the_run(recording, damage, message):
    assert check_run(config(recording))["gate"].labels.frames == 60
    (recording / "20.png").unlink()
    damage(recording / "20.png")
    with pytest.raises(InputError, match=message):
        check_run(config(recording))
