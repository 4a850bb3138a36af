"""Earth mover's distances against closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from nestevo_hw.evolution.transport import MOST_POINTS, distance_to_overall, feature_distance, label_distance

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


def test_equal_sets_are_matched_point_by_point():
    """Between sets of equal size the best plan is an assignment, which scipy finds by another algorithm."""
    random = torch.Generator().manual_seed(3)
    first, second = (torch.randn(30, 5, generator=random, dtype=torch.float64) for _ in range(2))
    unit = float(torch.cat([first, second]).numpy().var(0).sum() ** 0.5)
    cost = cdist(first, second)
    assert feature_distance([first, second]) == pytest.approx(cost[linear_sum_assignment(cost)].mean() / unit, rel=1e-9)


def test_a_shared_part_brings_sets_nearer_by_just_that_part():
    """By Kantorovich's dual only the difference of the distributions counts, so what is shared does not matter."""
    random = torch.Generator().manual_seed(4)
    first, second = torch.randn(40, 3, generator=random), torch.randn(40, 3, generator=random) + 1.0
    before = feature_distance([first, second])
    for shared in (torch.zeros(10, 3), 100 * torch.randn(10, 3, generator=random)):
        mixed = [torch.cat([first, shared]), torch.cat([second, shared])]
        assert feature_distance(mixed, unit=[first, second]) == pytest.approx(0.8 * before, rel=1e-6)


def test_wide_generated_features_do_not_seem_to_help():
    """Each terminal draws its own; measured in their own spread they would."""
    random = torch.Generator().manual_seed(5)
    real = [torch.randn(80, 8, generator=random) + shift for shift in (0.0, 0.5)]
    added = [torch.cat([r, 10 * torch.randn(16, 8, generator=random)]) for r in real]
    assert feature_distance(added) < feature_distance(real)
    assert feature_distance(added, unit=real) > feature_distance(real)
    assert distance_to_overall(added, real) > distance_to_overall(real, real)


def test_real_features_of_all_terminals_bring_each_nearer_to_the_whole():
    random = torch.Generator().manual_seed(6)
    real = [torch.randn(60, 4, generator=random) + shift for shift in (-2.0, 2.0)]
    added = [torch.cat([real[0], real[1][:30]]), torch.cat([real[1], real[0][:30]])]
    # Two thirds of each set stay on one side of a pool that has half on each: a sixth moves instead of a half.
    assert distance_to_overall(added, real) < 0.6 * distance_to_overall(real, real)


def test_sets_without_features_or_spread_are_no_error():
    same = torch.ones(4, 3)
    assert feature_distance([same, same]) == 0.0
    assert feature_distance([same, same + 1.0], unit=[same]) == pytest.approx(np.sqrt(3.0))
    assert feature_distance([torch.zeros(0, 3), same]) == feature_distance([]) == 0.0
    assert distance_to_overall([torch.zeros(0, 3)], [torch.zeros(0, 3)]) == 0.0


@pytest.mark.parametrize("more", [1, 40, 255])
def test_sets_are_thinned_to_just_as_many_points_however_many_there_are(more):
    """The fewer points, the farther apart two samples of one distribution are: sizes have to stay comparable."""
    random = torch.Generator().manual_seed(7)
    whole = [torch.randn(MOST_POINTS, 64, generator=random) for _ in range(2)]
    longer = [torch.cat([points, torch.randn(more, 64, generator=random)]) for points in whole]
    assert feature_distance(longer, unit=whole) == pytest.approx(feature_distance(whole), rel=0.005)
