"""What is learned from samples: rates, networks, intervals, and the profile that holds them."""

import math
import time
from copy import copy

import numpy as np
import pytest
import torch
from made_up_samples import BYTES_PER_S, CALL_S, MACS_PER_S, law_s, made_up_samples, made_up_work

from nestevo_hw.base.errors import InputError
from nestevo_hw.profiler.conformal import Calibration, Seen, trust
from nestevo_hw.profiler.kernels import Kernels
from nestevo_hw.profiler.model import OutOfFold, ProfileModel, architecture_folds, best_shares, memory_margin
from nestevo_hw.profiler.operations import Operation
from nestevo_hw.profiler.rates import DeviceFigures, Rates, nominal_step_s
from nestevo_hw.profiler.regressor import Regressor, RegressorPlan
from nestevo_hw.profiler.step_features import feature_matrix
from nestevo_hw.profiler.training_step import TrainingStep
from nestevo_hw.studies.profile.evaluation import THREE_LAYERS
from nestevo_hw.studies.profile.output import PROFILE

DEVICE = DeviceFigures(macs_per_s=MACS_PER_S, bytes_per_s=BYTES_PER_S, call_s=CALL_S)


def test_nominal_time_by_hand():
    work = made_up_work(2, 10, 100, 3)
    moved = 3 * (2 * 8000 + 3600) + 3 * 2 * 8000  # convolutions with their weights, norms; small ones move nothing
    expected = 3 * 9 * 100 * 200 / MACS_PER_S + moved / BYTES_PER_S + 56 * CALL_S
    assert nominal_step_s(TrainingStep(work=work, batch_size=2, pixels=100), DEVICE) == pytest.approx(expected)


def test_rates_find_the_law():
    samples = made_up_samples(60, noise=0.0)
    rates = Rates.fit([s.step for s in samples], np.array([s.step_s for s in samples]))
    others = made_up_samples(20, held_out=True, noise=0.0)
    errors = [rates.step_s(s.step) / law_s(s.work) - 1 for s in others]
    assert np.abs(errors).max() < 0.02
    assert all(seconds > 0 for seconds in rates.seconds.values())


def test_work_of_no_known_sort_takes_no_time():
    assert Rates({}).step_s(TrainingStep(work=made_up_work(1, 8, 64, 1), batch_size=1, pixels=64)) == 1e-6


def test_kernels_learn_the_time_of_an_operation():
    random = np.random.default_rng(0)
    timed = []
    for _ in range(400):
        work = made_up_work(int(random.integers(1, 17)), int(random.integers(8, 65)), 1024, 1)
        operation = work.operations[0][0]
        timed.append((operation, 1, operation.macs / MACS_PER_S))
    kernels = Kernels.fit(timed[:300])
    errors = [kernels.seconds([(o, 2)]) / (2 * seconds) - 1 for o, _, seconds in timed[300:]]
    assert np.mean(np.abs(errors)) < 0.05
    assert kernels.seconds([(Operation("norm", 0, 10, 10), 3)]) == 0.0
    assert Kernels.fit(timed[:3]) is None


def test_network_has_three_layers_and_learns():
    random = np.random.default_rng(0)
    features = random.uniform(-1, 1, (200, 3))
    targets = np.stack([np.sin(2 * features[:, 0]) + features[:, 1], features[:, 2] ** 2], 1)
    regressor = Regressor.fit(
        features, targets, plan=RegressorPlan(members=2, epochs=400, weight_decay=1e-3, jitter=0.0)
    )
    means, spreads = regressor.predict(random.uniform(-0.8, 0.8, (5, 3)))
    assert means.shape == spreads.shape == (5, 2)
    fresh = random.uniform(-0.8, 0.8, (100, 3))
    expected = np.stack([np.sin(2 * fresh[:, 0]) + fresh[:, 1], fresh[:, 2] ** 2], 1)
    assert np.abs(regressor.predict(fresh)[0] - expected).mean() < 0.08
    assert sorted(n for n in regressor.tensors if n.startswith("w")) == ["w0", "w1", "w2"]


def test_forward_pass_against_numpy():
    random = np.random.default_rng(1)
    features, targets = random.standard_normal((20, 4)), random.standard_normal((20, 2))
    regressor = Regressor.fit(features, targets, plan=RegressorPlan(members=1, epochs=3, left_out=0.0))
    t = {name: tensor.numpy().astype(float) for name, tensor in regressor.tensors.items()}
    hidden = ((features - t["x_mean"]) / t["x_scale"]).clip(-4, 4)
    for layer in "01":
        hidden = hidden @ t[f"w{layer}"][0] + t[f"b{layer}"][0]
        hidden = hidden / (1 + np.exp(-hidden))
    expected = (hidden @ t["w2"][0] + t["b2"][0]) * t["y_scale"] + t["y_mean"]
    assert np.allclose(regressor.predict(features)[0], expected, atol=1e-5)
    again = Regressor.fit(features, targets, plan=RegressorPlan(members=1, epochs=3, left_out=0.0))
    assert all(torch.equal(again.tensors[name], tensor) for name, tensor in regressor.tensors.items())


def test_intervals_hold_what_they_say():
    """Errors whose scale follows the members' spread: coverage within four standard errors of 90 %."""
    random = np.random.default_rng(0)
    spreads = random.uniform(0.05, 0.5, (4000, 1))
    errors = spreads * random.standard_normal((4000, 1))
    calibration = Calibration.fit(errors[:2000], spreads[:2000])
    hits = np.abs(errors[2000:]) <= calibration.half_widths(spreads[2000:])
    # Both halves are random: the quantile's error adds as much as the count's.
    assert hits.mean() == pytest.approx(0.9, abs=4 * math.sqrt(2 * 0.09 / 2000))


def test_rank_of_few_samples():
    errors = np.arange(1.0, 10.0)[:, None]  # of nine scores the ninth is ceil(10 * 0.9)
    calibration = Calibration.fit(errors, np.zeros((9, 1)))
    assert calibration.half_widths(np.zeros((1, 1)))[0, 0] == pytest.approx(9.0)


def test_what_is_unlike_all_samples():
    random = np.random.default_rng(0)
    seen = Seen(random.standard_normal((200, 4)))
    near, far = seen.novelty(np.stack([np.zeros(4), np.full(4, 20.0)]))
    assert near < 1.0 < far
    assert (trust(near), trust(1.5), trust(far)) == ("inside", "widened", "refused")
    assert np.mean(seen.novelty(random.standard_normal((400, 4))) <= 1.0) > 0.95


def test_no_architecture_on_both_sides():
    samples = [*made_up_samples(20), *made_up_samples(20)]  # each architecture twice
    folds = architecture_folds(samples, 4)
    assert sorted(row for _, left in folds for row in left) == list(range(40))
    for known, left in folds:
        assert {samples[i].spec.architecture for i in known}.isdisjoint(samples[i].spec.architecture for i in left)


def test_profile_learns_time_memory_and_its_own_errors(learned):
    _, found = learned
    figures = found.figures()
    assert figures["time_mape"] < 0.1
    assert figures["memory_mape"] < 0.01
    assert figures["memory_under_rate"] == 0.0
    # 40 tasks: four standard errors of a share of 90 % are 19 %.
    assert figures["coverage90"] == pytest.approx(0.9, abs=0.19)
    assert (
        figures["memory_mape"] < found.score("fake run", "memory").mape < found.score("paper's formula", "memory").mape
    )
    assert found.score(THREE_LAYERS, "time").mape < found.score("linear", "time").mape


def test_margin_of_memory():
    """Of 101 errors the second largest may lie 5 % too low at most, the largest anywhere."""
    errors = np.array([*[0.0] * 99, 0.1, 0.5])
    margin = memory_margin(errors)
    assert np.exp(-(errors - margin))[99] == pytest.approx(0.95)
    assert memory_margin(np.zeros(100)) == 0.0


def test_a_correction_is_believed_as_far_as_it_helps():
    random = np.random.default_rng(0)
    corrections = random.standard_normal((400, 2))
    # The first is right by half, the second has nothing to do with the truth.
    missing = np.stack([0.5 * corrections[:, 0], random.standard_normal(400)], 1)
    time_share, memory_share = best_shares(OutOfFold(missing, corrections, np.zeros((400, 2))))
    assert time_share == pytest.approx(0.5)
    assert memory_share <= 4 / math.sqrt(400)  # four standard errors of a slope of zero


def test_far_away_only_the_analytic_part_is_given(learned):
    model, _ = learned
    huge = TrainingStep(work=made_up_work(4096, 4096, 512**2, 200), batch_size=4096, pixels=512**2)
    predicted = model.predict(huge)
    assert predicted.trust == "refused"
    assert predicted.step_s == pytest.approx(model.analytic.step_s(huge))
    assert predicted.memory_bytes == pytest.approx(huge.work.peak_bytes * math.exp(model.memory_margin))
    unsure = copy(model)
    unsure.memory_margin = 5.0
    certain = unsure.predict(huge)
    assert certain.memory_low_bytes < certain.memory_bytes == certain.memory_high_bytes
    near = model.predict(made_up_samples(1)[0].step)
    assert near.trust == "inside"
    width, far_width = (e.step_high_s / e.step_low_s for e in (near, predicted))
    assert far_width > width**2


def test_file_holds_all_of_a_profile(learned, tmp_path):
    model, _ = learned
    model.save(tmp_path / PROFILE)
    again = ProfileModel.load(tmp_path / PROFILE)
    task = made_up_samples(1, held_out=True)[0].step
    assert again.predict(task) == model.predict(task)
    assert again.about == model.about
    (tmp_path / "other.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"other\.safetensors"):
        ProfileModel.load(tmp_path / "other.safetensors")


def test_a_prediction_takes_milliseconds(learned):
    model, _ = learned
    task = made_up_samples(1)[0].step
    times = []
    for _ in range(20):
        began = time.perf_counter()
        model.predict(task)
        times.append(time.perf_counter() - began)
    assert min(times) < 5e-3


def test_too_few_samples():
    with pytest.raises(InputError, match="need 16 samples or more to learn from, got 4"):
        ProfileModel.fit(made_up_samples(4), machine={}, device=DEVICE)


def test_features_are_finite():
    assert np.isfinite(feature_matrix([s.step for s in made_up_samples(5)])).all()
