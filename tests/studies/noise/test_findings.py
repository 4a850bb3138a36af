"""Sentences computed from the points, against a benchmark whose figures are known."""

from dataclasses import replace

import pytest
from handmade import ABOUT, PAIRED, SWEPT, TAUGHT, benchmark, line
from scipy import stats

from nestevo_hw.studies.noise.findings import (
    Loss,
    conclusion,
    pair_finding,
    student_finding,
    student_overview,
    sweep_finding,
)
from nestevo_hw.studies.noise.plan import AWARE, DIGITAL, Trial
from nestevo_hw.studies.noise.results import Benchmark


def test_a_loss_is_paired_draw_by_draw() -> None:
    before, after = (0.9, 0.5, 0.7), (0.8, 0.44, 0.56)
    loss = Loss.of(before, after)
    oracle = stats.ttest_rel(before, after).confidence_interval(0.95)
    assert (loss.low, loss.high) == pytest.approx((oracle.low, oracle.high), abs=1e-5)
    assert loss.mean == pytest.approx(0.1)
    assert Loss(mean=0.1, low=0.05, high=0.15).text == "10.0 points (5.0 to 15.0)"
    assert Loss(mean=0.1, low=-0.05, high=0.25).gain_text == "-10.0 points (-25.0 to +5.0)"


def test_the_conclusion_names_every_scene() -> None:
    assert conclusion(benchmark(SWEPT)) == (
        "By day the digital model scores 0.900, 0.820 on pcm right after programming, 0.730 after 1 d; "
        "by night the digital model scores 0.800, 0.720 on pcm right after programming, 0.630 after 1 d."
    )


def test_converters_are_compared_with_the_device_as_it_is() -> None:
    by_day, by_night = sweep_finding(benchmark(SWEPT), "adc_bits").split("; ")
    assert by_day.startswith("Day: within a point down to 7 bits, loses 10.0 points at 6 bits, 48.0 ")
    assert by_day.endswith("below half of 0.820 from 4 bits on")
    assert by_night.startswith("night: within a point down to 7 bits")


def test_weight_noise_and_age_are_compared_with_the_digital_model() -> None:
    by_day, _ = sweep_finding(benchmark(SWEPT), "mu").split("; ")
    assert by_day == "Day: loses 30.0 points (-97.1 to 157.1) at mu = 0.1"
    by_day, _ = sweep_finding(benchmark(SWEPT), "time_s").split("; ")
    assert by_day.startswith("Day: loses 8.0 points")
    assert "right after programming, 17.0 points" in by_day


def test_what_costs_nothing_is_said_to_cost_nothing() -> None:
    expected = "Day: within a point up to 0.1; night: within a point up to 0.1."
    assert sweep_finding(benchmark(SWEPT), "read_noise") == expected


@pytest.mark.parametrize("sweep", ["adc_bits", "analog"])
def test_where_the_digital_model_scores_nothing_nothing_is_concluded(sweep: str) -> None:
    nothing = [(t, {scene: dict.fromkeys(scores, 0.0) for scene, scores in s.items()}) for t, s in SWEPT]
    sentence = "nothing to lose, as the digital model scores nothing"
    assert sweep_finding(benchmark(nothing), sweep) == f"Day: {sentence}; night: {sentence}."


def test_names_have_a_best_and_a_worst() -> None:
    expected = "Day: best pcm with 0.730, worst reram-cmo with 0.450; night: best pcm"
    assert sweep_finding(benchmark(SWEPT), "analog").startswith(expected)


def test_noise_aware_training_is_judged_by_its_interval() -> None:
    assert pair_finding(benchmark(SWEPT, PAIRED), "mu", "day") == (
        "Weight noise mu, day: helps at 0.1: +12.0 points at mu = 0.1; harms at 0: -2.0 points at mu = 0."
    )
    chance = line("mu", {0.0: [0.9, 0.9], 0.1: [0.4, 0.9]}, AWARE)
    assert pair_finding(benchmark(SWEPT, PAIRED, chance), "mu", "night") == (
        "Weight noise mu, night: no difference beyond chance: at most +5.0 points (-185.6 to +195.6) at mu = 0.1."
    )


def test_students_are_compared_with_themselves_before() -> None:
    found = benchmark(SWEPT, TAUGHT)
    assert student_overview(found) == (
        "Taught without noise the student goes from 0.400 to 0.620, by true labels to 0.720. "
        "In 2 of 6 distillations it becomes better than the teacher was."
    )
    assert student_finding(found, "student_mu") == (
        "The student loses 28.0 points (2.6 to 53.4) and its teacher 55.0 points (-8.5 to 118.5) at mu = 0.1; "
        "distillation does harm from mu = 0.1 on: 0.400 becomes 0.340."
    )
    assert student_finding(found, "student_time_s").endswith(
        "after 1 d; distillation still helps at all of these: 0.400 becomes 0.580 or more."
    )


def test_sentences_of_models_without_scenes_name_none() -> None:
    one = {"all": {"top1_agreement": 0.9}}
    trials = {Trial(sweep=DIGITAL, value=DIGITAL, repeat=0): {"all": {"top1_agreement": 1.0}}}
    trials |= {Trial(sweep="mu", value=0.1, repeat=r): one for r in range(2)}
    found = Benchmark.of_trials({**ABOUT, "metric": "top1_agreement"}, trials)
    assert conclusion(found) == (
        "Agreement with the digital model, which is 1.000 with itself, 0.900 with weight noise mu = 0.1."
    )
    assert sweep_finding(found, "mu") == "Falls by 0.100 at mu = 0.1."
    alike = replace(found, about={**found.about, "one_class": 1.0})
    assert "The digital model names one class for 100% of the frames, so agreement" in conclusion(alike)
