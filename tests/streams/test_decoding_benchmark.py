"""The benchmark of decoding compares equal frames, and reading a longer clip takes no more memory."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_both_sides_read_the_same_frames(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    decoding = importlib.import_module("decoding")
    clip = decoding.make_clip(tmp_path / "a.mp4", 3)
    for way in decoding.WAYS:
        row = decoding.compare(clip, way, 30, 1)
        assert row["frames"] == -(-30 // way.stride)
        assert row["least"] == pytest.approx(row["ratio"]) == pytest.approx(row["most"])
    frame_mb = decoding.HEIGHT * decoding.WIDTH * 3 / 1e6
    assert decoding.own_peak_mb(clip) < 30 * frame_mb / 2
