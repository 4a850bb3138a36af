"""Drift score against its definition, and the calibrated threshold's false-alarm rate."""

import math

import numpy as np
import pytest
import torch

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.evolution.drift import (
    FeatureMoments,
    calibrated_threshold,
    drift_score,
    load_moments,
    moments_by_class,
    save_moments,
    sees_too_little,
    segments_needed,
)


def features(count, shift=0.0, seed=0):
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)) + shift


def test_score_is_the_normalised_distance_of_the_class_means():
    old, new = features(50), features(40, shift=2.0, seed=1)
    labels = (torch.ones(50, dtype=torch.int64), torch.ones(40, dtype=torch.int64))
    score = drift_score(moments_by_class(old, labels[0]), moments_by_class(new, labels[1]), [1], min_samples=2)
    a, b = old.numpy(), new.numpy()
    expected = np.linalg.norm((a.mean(0) - b.mean(0)) / np.concatenate([a, b]).std(0))
    assert score.score == pytest.approx(expected, rel=1e-4)
    assert score.left_out == ()


def test_rare_and_unseen_classes_are_left_out_and_named():
    training = {
        1: FeatureMoments.of(features(50)),
        2: FeatureMoments.of(features(3)),
        3: FeatureMoments.of(features(50)),
    }
    live = {1: FeatureMoments.of(features(50)), 2: FeatureMoments.of(features(50))}
    score = drift_score(training, live, [1, 2, 3], min_samples=8)
    assert score.score == pytest.approx(0.0, abs=1e-6)
    assert score.left_out == (2, 3)


def test_a_class_left_out_counts_as_the_mean_of_the_others():
    training = {c: FeatureMoments.of(features(50, seed=c)) for c in (1, 2)}
    live = {1: FeatureMoments.of(features(50, shift=2.0, seed=5)), 2: FeatureMoments.of(features(3))}
    alone = drift_score(training, live, [1], min_samples=8).score
    assert drift_score(training, live, [1, 2], min_samples=8).score == pytest.approx(2 * alone)


def test_where_nothing_can_be_compared_there_is_no_score():
    """A score of 0 would say that all is well."""
    training = {1: FeatureMoments.of(features(50))}
    nothing = drift_score(training, {}, [1], min_samples=8)
    assert math.isnan(nothing.score)
    assert nothing.left_out == (1,)


@pytest.mark.parametrize(
    ("objects", "frames", "blind"),
    [(0, 96, True), (47, 96, True), (48, 96, False), (0, 3, False), (0, 4, True), (192, 96, False)],
)
def test_a_teacher_is_blind_where_it_sees_less_than_a_quarter_of_what_it_should(objects, frames, blind):
    assert sees_too_little(objects, frames, familiar_rate=2.0, min_samples=8) == blind


def test_a_feature_that_never_varies_does_not_divide():
    dead = torch.zeros(20, 6)
    moments = {1: FeatureMoments.of(dead)}
    assert drift_score(moments, moments, [1], min_samples=1).score == 0.0


@pytest.mark.parametrize(("shift", "spread"), [(0.0, 1.0), (20.0, 0.01)])
def test_union_equals_the_moments_of_all_features_together(shift, spread):
    """Also where the mean is large and the variance small: the mean of squares less the mean's square was 96 % off."""
    a, b = features(30) * spread + shift, features(70, shift=1.0, seed=2) * spread + shift
    union, together = FeatureMoments.of(a).union(FeatureMoments.of(b)), FeatureMoments.of(torch.cat([a, b]))
    torch.testing.assert_close(union.mean, together.mean)
    torch.testing.assert_close(union.variance, together.variance)


def test_calibrated_threshold_keeps_its_false_alarm_rate():
    """Conformal rule: P(new > gamma) <= rate. 4000 trials, tolerance of 4 standard errors."""
    random = np.random.default_rng(0)
    rate, trials = 0.2, 4000
    alarms = sum(random.normal() > calibrated_threshold(random.normal(size=19).tolist(), rate) for _ in range(trials))
    assert alarms / trials <= rate + 4 * np.sqrt(rate * (1 - rate) / trials)
    assert alarms / trials >= rate - 0.05 - 4 * np.sqrt(rate * (1 - rate) / trials)


@pytest.mark.parametrize(("rate", "count", "place"), [(0.44, 24, 14), (0.2, 19, 16), (0.5, 3, 2), (0.1, 9, 9)])
def test_a_whole_number_of_segments_is_not_rounded_up(rate, count, place):
    assert calibrated_threshold([float(k) for k in range(1, count + 1)], rate) == place


def test_too_few_segments_for_the_rate_are_refused():
    with pytest.raises(ConfigError, match="at least 19 in-domain segments, got 5"):
        calibrated_threshold([1.0] * 5, 0.05)


def test_moments_survive_their_file(tmp_path):
    moments = {2: FeatureMoments.of(features(30))}
    save_moments(moments, tmp_path / "m.safetensors")
    back = load_moments(tmp_path / "m.safetensors")
    assert back[2].count == 30
    assert torch.equal(back[2].variance, moments[2].variance)


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.15, 0.3, 1 / 3, 0.5, 0.9, 1.0])
def test_so_many_segments_are_needed_and_no_fewer(rate):
    needed = segments_needed(rate)
    calibrated_threshold([1.0] * needed, rate)
    if needed > 1:
        with pytest.raises(ConfigError, match=rf"needs at least {needed} in-domain segments, got {needed - 1}"):
            calibrated_threshold([1.0] * (needed - 1), rate)
