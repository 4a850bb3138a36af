"""What a terminal can tell of its own accuracy: it agrees with itself by day, less so at night."""

import math

import pytest

from nestevo_hw.evolution.trigger import sense_accuracy, thinned
from nestevo_hw.models.checkpoint import load_pretrained
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.streams.weather import DriftScript, DriftSegment
from nestevo_hw.tasks.detection import Detection
from nestevo_hw.wire.signals import Signals, remaining_accuracy

NIGHT = DriftScript(segments=(DriftSegment(start=0, kind="night", strength=0.8),))


def test_night_takes_accuracy_away_and_the_terminal_notices():
    model = load_pretrained("fasterrcnn-tiny-m2")
    day, night = (
        sense_accuracy(
            Detection(),
            model,
            SyntheticStream(name="a", place="park", seed=5, drift=d).read(range(0, 320, 20)).images,
            3,
        )
        for d in (None, NIGHT)
    )
    assert remaining_accuracy(day, day) == 1.0
    assert remaining_accuracy(night, day) < 0.9


def test_both_signals_count_and_neither_can_excuse_the_other():
    known = Signals(agreement=0.8, confidence=0.5)
    assert remaining_accuracy(Signals(agreement=0.2, confidence=0.5), known) == pytest.approx(0.5)
    assert remaining_accuracy(Signals(agreement=0.0, confidence=0.9), known) == 0.0
    assert remaining_accuracy(Signals(agreement=0.9, confidence=0.9), known) == 1.0
    assert remaining_accuracy(Signals(agreement=0.4, confidence=0.9), known) == pytest.approx(math.sqrt(0.5))
    assert remaining_accuracy(known, Signals(agreement=0.0, confidence=0.5)) == 0.0


def test_frames_are_thinned_evenly():
    images = SyntheticStream(name="a", place="park", seed=5).read(range(6)).images
    assert len(thinned(images, 3)) == 3
    assert thinned(images, 3)[1].equal(images[2])
    assert thinned(images, 10).equal(images)
