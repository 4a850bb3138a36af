"""Earlier scenes: the zoo that brings a model back, the frames that are replayed, and what was forgotten."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from nestevo_hw.evolution.replay import remembered
from nestevo_hw.evolution.zoo import ZooConfig, choose_start
from nestevo_hw.models.checkpoint import load_model, pretrained_path, save_model
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.tasks.detection import Detection
from nestevo_hw.tasks.supervision import ground_truth_supervision

TASK = Detection()
PRESENT, EARLIER = pretrained_path("fasterrcnn-tiny-m3"), pretrained_path("fasterrcnn-tiny")


@pytest.fixture(scope="module")
def frames():
    return SyntheticStream(name="a", place="village", seed=4).read(range(0, 480, 40))


def test_an_earlier_model_comes_back_where_it_clearly_fits_better(frames):
    words = ground_truth_supervision(frames, 3)
    choice = choose_start(TASK, [PRESENT, EARLIER], frames.images, words, ZooConfig())
    assert choice.index == 1
    assert choice.scores[1] > choice.scores[0]
    assert choose_start(TASK, [EARLIER, PRESENT], frames.images, words, ZooConfig()).index == 0
    assert choose_start(TASK, [PRESENT, EARLIER], frames.images, words, ZooConfig(margin=0.9)).index == 0


def test_models_are_compared_with_the_statistics_of_the_scene_and_not_of_their_own(frames, tmp_path):
    """The better model, as it would be with statistics of some very different scene, is not given up."""
    model, spec = load_model(EARLIER)
    for norm in (m for m in model.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean += 2.0
        norm.running_var *= 5.0
    save_model(model, spec, tmp_path / "elsewhere.safetensors")
    words = ground_truth_supervision(frames, 3)
    choice = choose_start(TASK, [tmp_path / "elsewhere.safetensors", PRESENT], frames.images, words, ZooConfig())
    assert choice.index == 0
    assert choice.scores[0] > choice.scores[1] + 0.02


def test_a_scene_in_which_the_teacher_finds_nothing_brings_nothing_back(frames):
    nothing = Annotation.of(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    silent = [replace(w, annotation=nothing) for w in ground_truth_supervision(frames, 3)]
    choice = choose_start(TASK, [PRESENT, EARLIER], frames.images, silent, ZooConfig())
    assert choice.index == 0
    assert all(math.isnan(score) for score in choice.scores)


def test_replayed_frames_come_evenly_from_all_memories(frames):
    words = ground_truth_supervision(frames, 3)
    first, second = (frames.images[:8], words[:8]), (frames.images[8:], words[8:])
    images, said = remembered([first, second], 5)
    assert len(images) == len(said) == 5
    rows = [next(i for i in range(12) if torch.equal(frames.images[i], image)) for image in images]
    assert rows == [0, 2, 5, 8, 10]
    assert [w is words[row] for w, row in zip(said, rows, strict=True)] == [True] * 5
    few, many = (frames.images[:2], words[:2]), (frames.images[2:], words[2:])
    assert len(remembered([few, many], 9)[0]) == 9
    assert remembered([first], 0) is None
    assert remembered([], 5) is None
    assert len(remembered([(frames.images[:2], words[:2])], 5)[0]) == 2
