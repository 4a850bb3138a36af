"""Background subtraction in the labelling step: only where the frames show what the background is."""

from dataclasses import replace

import pytest
import torch

from nestevo_hw.evolution.config import load_preset, override
from nestevo_hw.evolution.steps import labels
from nestevo_hw.evolution.steps.step import Context
from nestevo_hw.evolution.taskid import TaskId
from nestevo_hw.evolution.teacher import TeacherFiles
from nestevo_hw.models.checkpoint import pretrained_path
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.streams.storage import load_frames, save_frames

FRAMES = 8


@pytest.fixture(scope="module")
def upload(tmp_path_factory):
    path = tmp_path_factory.mktemp("moving") / "upload"
    stream = SyntheticStream(name="campus", place="campus", seed=0)
    save_frames(stream.read(range(0, 10 * FRAMES, 10)), path)
    return path


def labelled(upload, out, *, spacing_s=1.0, amplify=2.0, moves=None):
    """What was labelled, and what was written."""
    changes = {
        "teacher.analog": "digital", "confirmation.amplify": amplify,
        "confirmation.mirror": False, "confirmation.zoom": 1.0,
    }  # fmt: skip
    request = labels.LabelRequest(
        teacher=TeacherFiles(weights=pretrained_path("fasterrcnn-tiny"), crossbar=out, age_s=0.0),
        upload=upload, ensemble=(pretrained_path("fasterrcnn-tiny-m3"),), spacing_s=spacing_s, earlier=None,
        moves=moves,
        out=labels.LabelFiles(supervision=out.with_suffix(".labels"), views=out.with_suffix(".views")),
    )  # fmt: skip
    context = Context(id=TaskId(0, "label", "campus"), config=override(load_preset("quick"), changes))
    return labels.label(context, request), request.out.supervision.read_bytes()


def test_a_fixed_camera_has_a_background(upload, tmp_path):
    found, amplified = labelled(upload, tmp_path / "still")
    _, plain = labelled(upload, tmp_path / "plain", amplify=1.0)
    assert not found.moves
    assert amplified != plain


def test_a_camera_that_moves_has_none(upload, tmp_path):
    frames = load_frames(upload)
    panned = torch.stack([image.roll(9 * i, -1) for i, image in enumerate(frames.images)])
    save_frames(replace(frames, images=panned), tmp_path / "panned")
    found, amplified = labelled(tmp_path / "panned", tmp_path / "moving")
    plain, as_they_are = labelled(tmp_path / "panned", tmp_path / "plain", amplify=1.0)
    assert (found.moves, plain.moves) == (True, False)
    assert amplified == as_they_are


def test_frames_of_a_moment_do_not_show_it(upload, tmp_path):
    found, amplified = labelled(upload, tmp_path / "moment", spacing_s=0.5)
    _, plain = labelled(upload, tmp_path / "plain", amplify=1.0, spacing_s=0.5)
    assert not found.moves
    assert amplified == plain


def test_whether_it_moves_is_found_out_once(upload, tmp_path):
    found, as_told = labelled(upload, tmp_path / "told", moves=True)
    _, plain = labelled(upload, tmp_path / "plain", amplify=1.0)
    assert found.moves
    assert as_told == plain
