"""The shipped checkpoints do by day what they are said to do, and fail under drift as the loop expects."""

import pytest
import torch

from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.base.tensors import read_tensors
from nestevo_hw.evolution.pretrain_frames import PLACES
from nestevo_hw.models.checkpoint import load_detector, pretrained_path
from nestevo_hw.models.names import PRETRAINED
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.streams.storage import concatenate
from nestevo_hw.streams.weather import DriftScript, DriftSegment
from nestevo_hw.tasks.faster_rcnn.labelling import predict
from nestevo_hw.tasks.metrics import mean_average_precision

TEACHER = "fasterrcnn-tiny"


def frames(*kinds):
    """Later frames of the sceneries the models were trained in, by day or under drift of the default strength."""
    drift = DriftScript(segments=tuple(DriftSegment(start=0, kind=kind, strength=0.6) for kind in kinds))
    batches = [
        SyntheticStream(name=p, place=p, seed=derive_seed(0, "pretrain", p, variant), drift=drift).read(
            [2000 + 83 * k for k in range(4)]
        )
        for p in PLACES
        for variant in (0, 1)
    ]
    return concatenate(batches)


@pytest.fixture(scope="module")
def day():
    return frames()


def score(name, batch):
    return mean_average_precision(predict(load_detector(pretrained_path(name))[0], batch.images), batch.truth, 3).map50


def test_the_teacher_is_good_by_day_and_falls_under_drift(day):
    by_day = score(TEACHER, day)
    assert by_day >= 0.80
    for kind in ("night", "fog", "rain"):
        assert 0.15 <= by_day - score(TEACHER, frames(kind)) <= 0.50


def test_terminals_lose_accuracy_with_pruning(day):
    scores = [score(name, day) for name in PRETRAINED if name.startswith(TEACHER)]
    assert len(scores) == 4
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] >= 0.5


def test_checkpoints_are_small_and_say_how_they_were_made():
    assert sum(pretrained_path(name).stat().st_size for name in PRETRAINED) < 11_000_000
    for name in PRETRAINED:
        header, tensors = read_tensors(pretrained_path(name))
        assert header["seed"] == "0"
        assert sum(t.numel() for t in tensors.values()) < 2_000_000
        assert all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point())
