"""Frames that no working camera sends are recognised; drifted scenes are not mistaken for them."""

import pytest
import torch

from nestevo_hw.streams.drift_kinds import WEATHER
from nestevo_hw.streams.health import fault_of
from nestevo_hw.streams.rendered.synthetic import SyntheticStream
from nestevo_hw.streams.weather import DriftScript, DriftSegment


@pytest.mark.parametrize("kind", WEATHER)
def test_the_worst_weather_is_no_fault(kind):
    drift = DriftScript(segments=(DriftSegment(start=0, kind=kind, strength=1.0),))
    assert fault_of(SyntheticStream(name="a", place="harbour", seed=1, drift=drift).read([0, 30, 60]).images) is None


def test_faults_are_named():
    frames = SyntheticStream(name="a", place="harbour", seed=1).read([0, 30, 60]).images
    noise = torch.randint(0, 256, frames.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    dark = torch.zeros_like(frames)
    dark[1] += 1
    assert fault_of(frames[:0]) == "sent no frames"
    assert fault_of(frames[:1].expand_as(frames)) == "sent the same frame again and again"
    assert fault_of(dark) == "sent frames of one colour"
    assert fault_of(noise) == "sent noise"
