"""What counts as a change of a frame."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nestevo_hw.models.onnx.crops.spans import Rect, Span
from nestevo_hw.terminals.dynamic.changes import TILE_PX, changed_tiles, noise_thresholds, regions, tile_differences


@pytest.mark.parametrize("size", [(64, 80), (50, 70), (16, 17), (7, 200)])
def test_tiles_show_their_largest_difference(size):
    draw = np.random.default_rng(0)
    one, other = (draw.integers(0, 256, (*size, 3), np.uint8) for _ in range(2))
    found = tile_differences(one, other)
    difference = np.abs(one.astype(int) - other)
    for row in range(-(-size[0] // TILE_PX)):
        for column in range(-(-size[1] // TILE_PX)):
            part = difference[row * TILE_PX :, column * TILE_PX :][:TILE_PX, :TILE_PX]
            assert found[row, column] == part.max()
    assert found.shape == (-(-size[0] // TILE_PX), -(-size[1] // TILE_PX))


@settings(max_examples=25, deadline=None)
@given(flags=st.lists(st.booleans(), min_size=48, max_size=48), most=st.integers(1, 4))
def test_regions_cover_what_changed_and_are_no_more_than_asked_for(flags, most):
    changed, size = np.array(flags).reshape(6, 8), (6 * TILE_PX - 5, 8 * TILE_PX)
    found = regions(changed, size, most)
    assert len(found) <= most
    covered = np.zeros(size, bool)
    for rect in found:
        covered[rect.slices] = True
    wanted = changed.repeat(TILE_PX, 0).repeat(TILE_PX, 1)[: size[0]]
    assert not (wanted & ~covered).any()
    assert changed.any() or not found


def test_far_changes_stay_apart():
    changed = np.zeros((16, 20), bool)
    changed[1, 1] = changed[14, 18] = True
    first, second = regions(changed, (256, 320), 3)
    assert first == Rect(Span(16, 32), Span(16, 32))
    assert second == Rect(Span(224, 240), Span(288, 304))


def test_noise_is_told_from_change():
    draw = np.random.default_rng(0)
    noisy = [np.clip(120 + draw.normal(0, 4, (128, 160, 3)), 0, 255).astype(np.uint8) for _ in range(9)]
    seen = np.stack([tile_differences(frame, noisy[0]) for frame in noisy[1:]])
    thresholds = noise_thresholds(seen)
    # Of a hundred thousand differences of normal noise none is beyond six of its deviations, which the largest of 768
    # comes near.
    assert (thresholds > 4 * 4 * 2**0.5).all()
    assert (thresholds < 8 * 4 * 2**0.5).all()
    assert (seen <= thresholds).mean() > 0.999


def test_tiles_in_which_something_passes_stay_awake():
    seen = np.full((8, 8, 10), 6, np.uint8)
    seen[:, 2, 3:5] = 200
    thresholds = noise_thresholds(seen)
    assert np.median(thresholds) == 9.0
    assert thresholds.max() == 18.0


def test_a_single_tile_must_stand_out():
    seen = np.zeros((6, 6), np.uint8)
    seen[0, 0], seen[0, 4], seen[4, 1], seen[5, 2] = 11, 16, 11, 11
    changed = changed_tiles(seen, np.array(10.0))
    assert sorted(zip(*np.nonzero(changed), strict=True)) == [(0, 4), (4, 1), (5, 2)]
    assert not changed_tiles(np.zeros((6, 6), np.uint8), np.array(10.0)).any()
