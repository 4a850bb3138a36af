"""Sweeps: intervals against scipy, repeatability, and that more noise is worse."""

import csv
import io
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor, nn

from nestevo_hw.crossbar.devices import find_preset
from nestevo_hw.errors import ConfigError, InputError
from nestevo_hw.models.faster_rcnn import fasterrcnn_tiny
from nestevo_hw.robustness.bench import (
    Hardware,
    sweep_converters,
    sweep_time,
    sweep_weight_noise,
)
from nestevo_hw.robustness.fidelity import map50_vs_digital, normalise_statistics, top1_agreement
from nestevo_hw.robustness.points import SweepPoint, student_t975, t_interval, write_csv


@pytest.mark.parametrize("degrees", [1, 2, 5, 10, 11, 15, 30, 100, 1000])
def test_student_t_against_scipy(degrees: int) -> None:
    assert student_t975(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-4)


@given(st.lists(st.floats(0.0, 1.0), min_size=2, max_size=20))
def test_interval_against_scipy(scores: list[float]) -> None:
    low, high = t_interval(scores)
    mean, error = sum(scores) / len(scores), stats.sem(scores)
    half = 0.0 if error == 0 else stats.t.ppf(0.975, len(scores) - 1) * error
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=1e-3)


def test_one_score_has_no_interval() -> None:
    with pytest.raises(ValueError, match="need two scores or more"):
        t_interval([0.5])


class _Classifier(nn.Module):
    """Classes that lie on a circle, so that the right one is known and noise matters."""

    def __init__(self, classes: int = 24) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.lift = nn.Linear(2, 64)
        self.head = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lift(x).relu())


def _setup() -> tuple[_Classifier, list[Tensor]]:
    angles = torch.linspace(0, 2 * math.pi, 600)
    return _Classifier().eval(), [torch.stack([angles.cos(), angles.sin()], 1)]


def test_more_weight_noise_agrees_less() -> None:
    model, batches = _setup()
    before = [p.clone() for p in model.parameters()]
    points = sweep_weight_noise(model, top1_agreement(model, batches), (0.0, 0.02, 0.2), repeats=4, seed=1)
    means = [point.mean for point in points]
    assert means[0] == 1.0
    assert means == sorted(means, reverse=True)
    assert means[2] < 0.8
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    assert len(set(points[2].scores)) > 1
    again = sweep_weight_noise(model, top1_agreement(model, batches), (0.2,), repeats=4, seed=1)
    assert again[0].scores == points[2].scores


def test_older_cells_agree_less_and_repeats_differ() -> None:
    model, batches = _setup()
    hardware = Hardware(preset=find_preset("pcm"), tile=32)
    count = []
    points = sweep_time(
        model, top1_agreement(model, batches), (0.0, 3.15e8), hardware, batches, repeats=4,
        on_score=lambda: count.append(1),
    )  # fmt: skip
    assert [point.value for point in points] == [0.0, 3.15e8]
    assert points[0].mean > points[1].mean
    assert len(set(points[1].scores)) > 1
    assert len(count) == 8
    with pytest.raises(ConfigError, match="reram-wan is characterised only at"):
        sweep_time(model, top1_agreement(model, batches), (60.0,), Hardware(preset=find_preset("reram-wan")),
                   batches, repeats=2)  # fmt: skip


def test_better_converters_agree_more() -> None:
    model, batches = _setup()
    hardware = Hardware(preset=find_preset("ideal"))
    with pytest.raises(ConfigError, match="ideal has no converters whose adc_bits"):
        sweep_converters(model, top1_agreement(model, batches), "adc_bits", (8,), hardware, batches, repeats=2)
    with_converters = replace(find_preset("pcm"), noise_model="none")
    hardware = Hardware(preset=with_converters)
    for sweep, values in (("adc_bits", (4, 6, 12)), ("output_noise", (1.0, 0.1, 0.0)), ("dac_bits", (2, 4, 12))):
        points = sweep_converters(model, top1_agreement(model, batches), sweep, values, hardware, batches, repeats=2)  # type: ignore[arg-type]
        means = [point.mean for point in points]
        assert means == sorted(means), sweep


def test_csv_has_one_row_a_point() -> None:
    point = SweepPoint(sweep="time_s", value=86_400.0, variant="night", scores=(0.5, 0.6, 0.7))
    (row,) = csv.DictReader(io.StringIO(write_csv([point])))
    assert (row["sweep"], row["value"], row["variant"], row["repeats"]) == ("time_s", "86400", "night", "3")
    assert float(row["mean"]) == pytest.approx(0.6)
    assert (float(row["ci95_low"]), float(row["ci95_high"])) == pytest.approx(point.ci95, rel=1e-4)
    assert point.document()["unit"] == "s after programming"


def test_a_detector_agrees_fully_with_itself() -> None:
    torch.manual_seed(0)
    model = fasterrcnn_tiny(4).eval()
    batches = [list(torch.rand(3, 3, 96, 120))]
    normalise_statistics(model, batches)
    evaluate = map50_vs_digital(model, batches)
    assert evaluate(model)["all"] == pytest.approx(1.0)
    with torch.no_grad():
        for p in model.roi_heads.box_predictor.parameters():
            p.copy_(torch.randn(p.shape))
    assert evaluate(model)["all"] < 0.5


def test_normalised_statistics_are_those_of_the_batches() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3)).eval()
    x = 5 * torch.randn(8, 2, 6, 6) + 2
    normalise_statistics(model, [x])
    y = model(x)
    assert y.mean((0, 2, 3)).abs().max() < 1e-4
    torch.testing.assert_close(y.var((0, 2, 3)), torch.ones(3), rtol=1e-3, atol=1e-3)
    assert not model[1].training


def test_what_is_no_classifier_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected class scores \(2, classes\) from the model but got \(2, 3, 4, 4\)"):
        top1_agreement(nn.Identity(), [torch.rand(2, 3, 4, 4)])
