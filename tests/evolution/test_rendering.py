"""Rendered frames come out the same from one process and from several, and a killed run goes on with what is there."""

from pathlib import Path

import torch

from nestevo_hw.evolution.rendering import Shots, one_by_one, side_by_side


def test_side_by_side_gives_what_one_process_gives(tmp_path: Path) -> None:
    scenes = [
        Shots(task="detection", place=place, seed=seed, size=(64, 96), indices=(0, 67))
        for seed, place in enumerate(("campus", "village", "campus"))
    ]
    expected, render = one_by_one(scenes), side_by_side(tmp_path / "scenes")
    found = render(scenes)
    for own, other in zip(expected, found, strict=True):
        assert torch.equal(own.images, other.images)
        assert own.truth is not None
        assert other.truth is not None
        assert [a.boxes.tolist() for a in own.truth] == [a.boxes.tolist() for a in other.truth]
    (first, second, third) = sorted((tmp_path / "scenes").iterdir())
    second.unlink()
    before = first.stat().st_mtime_ns, third.stat().st_mtime_ns
    again = render(scenes)
    assert all(torch.equal(a.images, b.images) for a, b in zip(found, again, strict=True))
    assert (first.stat().st_mtime_ns, third.stat().st_mtime_ns) == before
