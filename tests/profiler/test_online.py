"""Learning from finished tasks: the Gaussian process against scikit-learn's, and the costs a run would see."""

import math

import numpy as np
import pytest
from made_up_samples import made_up_samples
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel

from nestevo_hw.base.errors import InputError
from nestevo_hw.profiler.costs import CostModel, Measured, TaskFeatures
from nestevo_hw.profiler.learned import ProfiledCosts
from nestevo_hw.profiler.online import KIND_SCALE, NOISE, PLACE_SCALE, AdaptiveWidth, Residuals
from nestevo_hw.profiler.target import CPU, CUDA


@pytest.fixture
def model(learned):
    return learned[0]


def features_of(model, step, *, kind, besides=0):
    """A task of 40 such steps that has had a fake run only; `besides` are bytes that are no tensors."""
    estimate = model.predict(step)
    return TaskFeatures(
        kind=kind, parameters=1, macs_per_step=1.0, activation_bytes=1.0, frames=96, batch_size=step.batch_size,
        steps=40, dry_memory_bytes=round(estimate.memory_bytes) + besides, dry_duration_s=40 * estimate.step_s,
        step=step,
    )  # fmt: skip


def test_residuals_against_scikit_learn():
    random = np.random.default_rng(0)
    places, values = random.standard_normal((12, 3)), 0.3 + 0.1 * random.standard_normal(12)
    residuals = Residuals()
    for place, value in zip(places, values, strict=True):
        residuals.add("mutual", place, value)
    # The mean over the axes makes the length scale sqrt(3) in scikit-learn's terms.
    kernel = ConstantKernel(KIND_SCALE**2) + ConstantKernel(PLACE_SCALE**2) * RBF(math.sqrt(3))
    oracle = GaussianProcessRegressor(kernel, alpha=NOISE**2, optimizer=None).fit(places, values)
    for place in random.standard_normal((5, 3)):
        mean, deviation = oracle.predict(place[None], return_std=True)
        assert residuals.at("mutual", place) == pytest.approx((mean[0], deviation[0]), abs=1e-6)
    assert residuals.at("distil", places[0]) == (0.0, math.hypot(KIND_SCALE, PLACE_SCALE))


def test_widths_keep_their_coverage_when_errors_change():
    """Errors grow threefold half way. The bound on the long-run miss rate is |log of the factor| / (step * tasks)."""
    random = np.random.default_rng(0)
    width, hits = AdaptiveWidth(0.9), []
    for number in range(4000):
        error = abs(random.standard_normal()) * (1.0 if number < 2000 else 3.0)
        hits.append(error <= 1.645 * width.factor)
        width.learn(covered=hits[-1])
    assert np.mean(hits) == pytest.approx(0.9, abs=0.02)
    assert np.mean(hits[2500:]) == pytest.approx(0.9, abs=0.03)


def test_a_stored_profile_predicts_before_anything_has_finished(model):
    costs: CostModel = ProfiledCosts(model)
    sample = made_up_samples(1, held_out=True)[0]
    features = features_of(model, sample.step, kind="mutual", besides=10**8)
    prediction = costs.predict(features)
    assert prediction.duration_s == pytest.approx(40 * sample.step_s, rel=0.25)
    assert prediction.memory_bytes == pytest.approx(sample.memory_bytes + 10**8, rel=0.02)


def test_finished_tasks_correct_it_by_kind(model):
    costs = ProfiledCosts(model)
    steps = [s.step for s in made_up_samples(6, held_out=True)]
    features = [features_of(model, s, kind="mutual") for s in steps]
    before = costs.predict(features[-1])
    for f in features[:-1]:
        truth = costs.model.predict(f.step).step_s * 40
        costs.observe(f, Measured(memory_bytes=round(1.2 * f.dry_memory_bytes), duration_s=1.5 * truth))
    after = costs.predict(features[-1])
    assert after.duration_s == pytest.approx(1.5 * before.duration_s, rel=0.06)
    assert after.memory_bytes == pytest.approx(1.2 * before.memory_bytes, rel=0.001)
    low, high = costs.interval(features[-1])
    assert low < after.duration_s < high
    other = features_of(model, steps[0], kind="distil")
    assert costs.predict(other).duration_s == pytest.approx(other.dry_duration_s)


def test_without_a_fake_run_the_dry_run_stands(model):
    costs = ProfiledCosts(model)
    plain = TaskFeatures(kind="distil", parameters=1, macs_per_step=1.0, activation_bytes=1.0, frames=1, batch_size=1,
                         steps=3, dry_memory_bytes=1000, dry_duration_s=2.5)  # fmt: skip
    prediction = costs.predict(plain)
    assert (prediction.memory_bytes, prediction.duration_s) == (1000, 2.5)
    costs.observe(plain, Measured(memory_bytes=900, duration_s=5.0))
    assert costs.predict(plain).duration_s == pytest.approx(5.0, rel=0.02)
    assert costs.predict(plain).memory_bytes == 900


def test_a_profile_of_another_kind_of_device_is_refused(learned, tmp_path):
    learned[0].save(tmp_path / "p.safetensors")
    assert ProfiledCosts.load(tmp_path / "p.safetensors", CPU).model.about["machine"] == {"cpu": "made up"}
    with pytest.raises(InputError, match=r"p.safetensors was measured on cpu, but trainings run on cuda; measure one"):
        ProfiledCosts.load(tmp_path / "p.safetensors", CUDA)
