"""Which frames a window uses: uploads first, test frames later, in-domain frames by day and from elsewhere."""

import json
import math

import av
import numpy as np
import pytest
import torch

from nestevo_hw.base.documents import plain
from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.evolution.cameras import (
    capture_window,
    open_stream,
    plan_reference,
    plan_window,
    reference_frames,
)
from nestevo_hw.evolution.check import check_run
from nestevo_hw.evolution.config import load_preset, override, parse_config
from nestevo_hw.evolution.gate import ValidationGate, replay_part
from nestevo_hw.evolution.teacher import TeacherFiles
from nestevo_hw.streams.frame import Annotation, FrameBatch


def config(**changes):
    return override(load_preset("quick"), {"window.upload_frames": 4, "window.test_frames": 5, **changes})


def test_test_frames_follow_the_uploaded_ones_within_the_window():
    for window in (0, 1):
        captured = capture_window(config(), "campus", window)
        upload, test = captured.upload, captured.test
        assert captured.spacing_s == pytest.approx(0.5)
        assert upload.indices == tuple(6000 * window + 5 * k for k in range(4))
        assert upload.indices[-1] < test.indices[0]
        assert test.indices[-1] < 6000 * (window + 1)
        assert (len(test), test.truth is not None) == (5, True)


@pytest.mark.parametrize(("spacing", "count"), [(5, 20), (12, 48), (30, 8), (30, 120), (500, 2000)])
def test_no_frame_is_tested_that_could_have_been_uploaded(spacing, count):
    """A terminal may upload more frames than the plan's, as far as each frame of a segment."""
    plan = config(**{"window.upload_spacing": spacing, "window.length_s": 4000.0})
    terminal = plan.terminal("campus")
    stream = open_stream(plan, terminal)
    uploaded, tested = plan_window(plan, terminal, stream, 0, frames=count)
    assert (len(uploaded), len(tested)) == (count, 5)
    assert uploaded[-1] < tested[0]
    assert tested == plan_window(plan, terminal, stream, 0)[1], "whoever uploads more is tested on the same"


def test_drift_follows_the_script():
    plain, drifted = (
        capture_window(parse_config(config().document() | {"terminals": [terminal]}, source="test"), "campus", 0).upload
        for terminal in (
            {"name": "campus", "model": "fasterrcnn-tiny-m1", "place": "campus"},
            {
                "name": "campus", "model": "fasterrcnn-tiny-m1", "place": "campus",
                "drift": [{"window": 0, "kind": "night", "strength": 0.6}],
            },
        )
    )  # fmt: skip
    assert drifted.images.float().mean() < 0.7 * plain.images.float().mean()


def test_a_terminal_may_upload_fewer_frames_than_the_others_of_the_same_time():
    own = [{"name": "campus", "model": "fasterrcnn-tiny-m1", "place": "campus", "upload_frames": 2}]
    few = parse_config(config().document() | {"terminals": own}, source="test")
    assert capture_window(few, "campus", 0).upload.indices == (0, 10)
    assert capture_window(few, "campus", 0).test.indices == capture_window(config(), "campus", 0).test.indices


@pytest.mark.parametrize(
    ("terminal", "changes", "message"),
    [
        ({"upload_frames": 21}, {}, "need upload_frames <= 20, the frames of a segment"),
        ({"upload_frames": 2}, {"sampling.budget_frames": 60}, "shared out by sampling.budget_frames"),
        ({"skew": 0.5}, {}, "task 'detection' has no unequal streams, which skew of terminal 'campus' needs"),
    ],
)
def test_a_terminals_own_upload_and_skew_are_refused_where_they_cannot_be(terminal, changes, message):
    own = [{"name": "campus", "model": "fasterrcnn-tiny-m1", "place": "campus", **terminal}]
    with pytest.raises(ConfigError, match=message):
        check_run(parse_config(config(**changes).document() | {"terminals": own}, source="test"))


def test_a_window_too_short_for_its_frames_is_refused():
    with pytest.raises(ConfigError, match="too few for 4 uploaded ones 5 apart and 5 test frames"):
        capture_window(config(**{"window.length_s": 2.0}), "campus", 0)


def test_reference_segments_cover_all_frames_and_replay_leaves_the_gates_out():
    few = override(config(), {"reference.places": ["campus", "park"], "reference.frames_per_segment": 3})
    frames, segments = reference_frames(few)
    assert [s.stop - s.start for s in segments] == [3, 3, 3, 3]
    assert segments[-1].stop == len(frames) == 12
    replay = replay_part(frames)
    assert len(replay) == 6
    guarded = {frames.images[i].numpy().tobytes() for i in range(12) if i % 4 < 2}
    assert not guarded & {image.numpy().tobytes() for image in replay.images}


@pytest.fixture
def clip(tmp_path):
    """A labelled video of 60 frames, every second one labelled."""
    with av.open(tmp_path / "clip.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for k in range(60):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 4 * k, dtype=np.uint8))
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    images = [{"id": k, "file_name": f"{k}", "width": 64, "height": 48, "frame_index": k} for k in range(0, 60, 2)]
    boxes = [
        {"id": k, "image_id": image["id"], "category_id": 1, "bbox": [4, 4, 10, 10], "area": 100, "iscrowd": 0}
        for k, image in enumerate(images)
    ]
    labels = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "person"}]}
    (tmp_path / "clip.json").write_text(json.dumps(labels))
    return tmp_path


def video_config(clip, **changes):
    terminal = {
        "name": "gate", "model": "fasterrcnn-tiny-m1", "video": str(clip / "clip.mp4"),
        "labels": str(clip / "clip.json"), "class_map": {"person": "pedestrian"}, "start_frame": 20,
    }  # fmt: skip
    plain = {**load_preset("quick").document(), "terminals": [terminal]}
    settings = {
        "window.count": 1, "window.length_s": 4.0, "window.upload_frames": 4, "window.test_frames": 3,
        "window.upload_spacing": 2, "reference.segments_per_place": 2, "reference.frames_per_segment": 4,
    }  # fmt: skip
    return override(parse_config(plain, source="test"), {**settings, **changes})


def test_a_video_is_tested_on_labelled_frames_and_calibrated_on_those_before(clip):
    settings = video_config(clip)
    captured = capture_window(settings, "gate", 0)
    upload, test = captured.upload, captured.test
    assert upload.indices == (20, 22, 24, 26)
    assert all(i % 2 == 0 and 26 < i < 60 for i in test.indices)
    frames, segments = reference_frames(settings)
    assert max(frames.indices) < 20
    assert len(segments) == 2


def test_a_video_too_short_or_sparsely_labelled_says_so(clip):
    with pytest.raises(ConfigError, match=r"has 60 frames but window 1 needs 100"):
        capture_window(video_config(clip), "gate", 1)
    with pytest.raises(InputError, match=r"labelled frames to evaluate on but window.test_frames = 20; lower it"):
        capture_window(video_config(clip, **{"window.test_frames": 20}), "gate", 0)


def test_a_video_without_labels_runs_unscored(clip):
    settings = video_config(clip).document()
    settings["terminals"][0] |= {"labels": None, "class_map": {}}
    settings = parse_config(settings, source="test")
    captured = capture_window(settings, "gate", 0)
    upload, test = captured.upload, captured.test
    assert test.truth is None
    assert upload.indices[-1] < test.indices[0]
    frames, _ = reference_frames(settings)
    assert frames.truth is None
    files = TeacherFiles(weights=clip / "absent", crossbar=clip / "absent", age_s=0.0)
    verdict = ValidationGate.of(settings).compare(files, files, frames, first=None, known=None)
    assert verdict.accepted
    assert verdict.gate_after is None


def test_a_gate_that_finds_no_object_lets_pass_and_says_null(monkeypatch):
    """NaN is no JSON, and the verdict is stored as the result of a task."""
    monkeypatch.setattr(ValidationGate, "score", lambda *_: math.nan)
    nothing = Annotation.of(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    frames = FrameBatch(images=torch.zeros(4, 3, 8, 8, dtype=torch.uint8), indices=(0, 1, 2, 3), truth=(nothing,) * 4)
    verdict = ValidationGate.of(load_preset("quick")).compare(None, None, frames, first=None, known=None)
    assert verdict.accepted
    assert plain(verdict, nan_to_null=True)["gate_after"] is None


def test_segments_of_data_are_spread_over_all_of_it_however_much_there_is(tmp_path):
    images, labels = np.zeros((300, 8, 8), np.uint8), np.repeat(np.arange(10), 30)
    np.savez(tmp_path / "sorted.npz", x=images, y=labels)
    plan = override(
        load_preset("digits"),
        {"reference.data": str(tmp_path / "sorted.npz"), "reference.segments": 3, "reference.frames_per_segment": 20},
    )
    data, rows = zip(
        *[(stream, rows) for stream, rows in plan_reference(plan) if stream.name == "reference"], strict=True
    )
    assert [len(part) for part in rows] == [20, 20, 20]
    assert len({row for part in rows for row in part}) == 60
    for stream, part in zip(data, rows, strict=True):
        assert stream.shown(part) == set(stream.classes), "a segment shows some classes alone"
