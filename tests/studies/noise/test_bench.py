"""Scores in one setting after another: repeatable in any order, found once, and worse with more noise."""

import random
from collections.abc import Sequence

import pytest
import torch
from circle import circle_bench

from nestevo_hw.studies.noise.bench import Bench, Scores
from nestevo_hw.studies.noise.plan import DIGITAL, UNSWEPT, Trial
from nestevo_hw.studies.noise.sweeps import Value


def _trials(sweep: str, values: Sequence[Value], repeats: int = 4) -> list[Trial]:
    return [Trial(sweep=sweep, value=value, repeat=r) for value in values for r in range(repeats)]


def _run(bench: Bench, trials: Sequence[Trial]) -> dict[Trial, Scores]:
    found: dict[Trial, Scores] = {}
    bench.run(trials, {}, found.__setitem__)
    return found


def _means(bench: Bench, sweep: str, values: Sequence[Value]) -> list[float]:
    found = _run(bench, _trials(sweep, values))
    scores = {v: [s["all"]["top1_agreement"] for c, s in found.items() if c.value == v] for v in values}
    return [sum(s) / len(s) for s in scores.values()]


def test_more_weight_noise_agrees_less_and_leaves_the_model_alone() -> None:
    bench = circle_bench()
    before = [p.clone() for p in bench.models[""].parameters()]
    means = _means(bench, "mu", (0.0, 0.02, 0.2))
    assert means[0] == 1.0
    assert means == sorted(means, reverse=True)
    assert means[2] < 0.8
    assert all(torch.equal(p, b) for p, b in zip(bench.models[""].parameters(), before, strict=True))


@pytest.mark.parametrize(
    ("sweep", "from_worse_to_better"),
    [
        ("time_s", (3.15e8, 0.0)),
        ("stuck_cells", (0.2, 0.02, 0.0)),
    ],
)
def test_worse_cells_agree_less(sweep: str, from_worse_to_better: tuple[float, ...]) -> None:
    means = _means(circle_bench(), sweep, from_worse_to_better)
    assert means == sorted(means)
    assert means[0] < means[-1]


@pytest.mark.parametrize(
    ("sweep", "from_worse_to_better"),
    [
        ("adc_bits", (4.0, 6.0, 12.0)),
        ("dac_bits", (2.0, 4.0, 12.0)),
        ("output_noise", (1.0, 0.1, 0.0)),
        ("input_noise", (0.5, 0.1, 0.0)),
        ("read_noise", (0.5, 0.0)),
        ("ir_drop", (40.0, 0.0)),
    ],
)
def test_worse_converters_agree_less(sweep: str, from_worse_to_better: tuple[float, ...]) -> None:
    means = _means(circle_bench(noiseless_cells=True), sweep, from_worse_to_better)
    assert means == sorted(means)
    assert means[0] < means[-1]


def test_the_order_and_the_company_of_trials_change_nothing() -> None:
    trials = _trials("mu", (0.0, 0.1), 2) + _trials("time_s", (0.0, 86_400.0), 2) + _trials("adc_bits", (4.0, 8.0), 2)
    together = _run(circle_bench(), trials)
    shuffled = random.Random(1).sample(trials, len(trials))
    assert _run(circle_bench(), shuffled) == together
    assert all(_run(circle_bench(), [trial])[trial] == together[trial] for trial in trials[-3:])
    draws = [together[trial] for trial in _trials("time_s", (86_400.0,), 2)]
    assert draws[0] != draws[1]


def test_the_same_setting_under_two_names_is_scored_once() -> None:
    bench, calls = circle_bench(), []

    def counting(model: torch.nn.Module) -> Scores:
        calls.append(model)
        return inner(model)

    inner = bench.measures[""]
    bench = Bench(models=bench.models, measures={"": counting}, calibration=bench.calibration, hardware=bench.hardware)
    trials = [
        Trial(sweep=UNSWEPT, value=UNSWEPT, repeat=0),
        Trial(sweep="time_s", value=0.0, repeat=0),
        Trial(sweep="adc_bits", value=8.0, repeat=0),  # what pcm has
        Trial(sweep="adc_bits", value=8.0, repeat=1),
        Trial(sweep=DIGITAL, value=DIGITAL, repeat=0),
        *_trials("mu", (0.0,), 3),
    ]
    found = _run(bench, trials)
    assert list(found) == trials
    assert len(calls) == 3
    assert found[trials[0]] == found[trials[2]] != found[trials[3]]


def test_known_scores_are_not_found_again() -> None:
    trials = _trials("mu", (0.1, 0.2), 2)
    everything = _run(circle_bench(), trials)
    later: dict[Trial, Scores] = {}
    circle_bench().run(trials, {trial: everything[trial] for trial in trials[:3]}, later.__setitem__)
    assert later == {trials[3]: everything[trials[3]]}
