"""Earth mover's distances against closed forms."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nestevo_hw.evolution.transport import feature_distance, label_distance

WEIGHTS = st.lists(st.floats(0.01, 1.0), min_size=4, max_size=4)


@settings(deadline=None)  # the first example imports POT
@given(first=WEIGHTS, second=WEIGHTS)
def test_equally_far_classes_give_half_the_l1_difference(first, second):
    a, b = (torch.tensor(w, dtype=torch.float64) / sum(w) for w in (first, second))
    assert label_distance([a, b]) == pytest.approx(float((a - b).abs().sum()) / 2, abs=1e-9)


def test_a_shifted_set_is_as_far_as_the_shift():
    """Both sets have unit spread about their means in the only dimension that varies."""
    points = torch.linspace(-1, 1, 50)[:, None]
    both = torch.cat([points, points + 4.0]).double()
    expected = 4.0 / float(both.std(correction=0))
    assert feature_distance([points, points + 4.0]) == pytest.approx(expected, rel=1e-6)
    assert feature_distance([points, points.flip(0)]) == pytest.approx(0.0, abs=1e-9)


def test_fewer_than_two_sets_have_no_distance():
    assert feature_distance([torch.rand(3, 2)]) == 0.0
    assert label_distance([torch.tensor([0.5, 0.5])]) == 0.0
