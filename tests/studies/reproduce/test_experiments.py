"""The parts of the experiments that can be checked by hand."""

import json

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from nestevo_hw.base.stats import mean
from nestevo_hw.evolution.aggregate import average
from nestevo_hw.evolution.config import load_preset
from nestevo_hw.studies.reproduce.averaging import EXPERIMENTS, averages, cut_to_common
from nestevo_hw.studies.reproduce.chips import chips
from nestevo_hw.studies.reproduce.compressing import compression, memory
from nestevo_hw.studies.reproduce.drifting import drift, features, normal_divergence
from nestevo_hw.studies.reproduce.effort import FULL, QUICK
from nestevo_hw.studies.reproduce.items import items
from nestevo_hw.studies.reproduce.methods import TASK_BYTES, methods, schedules
from nestevo_hw.studies.reproduce.scenes import Camera, model_named
from nestevo_hw.studies.reproduce.threshold import thresholds


def test_divergence_is_that_of_fitted_normal_distributions():
    p, q = torch.tensor([0.0, 1.0, 2.0, 5.0]), torch.tensor([3.0, 3.5, 4.5])
    expected = kl_divergence(Normal(p.mean(), p.std()), Normal(q.mean(), q.std()))
    assert normal_divergence(p, q) == pytest.approx(float(expected))
    assert normal_divergence(p, p) == pytest.approx(0.0, abs=1e-6)
    assert normal_divergence(p, torch.tensor([1.0])) != normal_divergence(p, q)  # NaN: nothing to fit


def test_unequal_structures_are_cut_and_equal_ones_stay_whole():
    first, second = {"w": torch.arange(6.0).view(2, 3)}, {"w": torch.ones(3, 2)}
    cut = cut_to_common([first, second])
    assert cut[0]["w"].tolist() == [[0.0, 1.0], [3.0, 4.0]]
    assert average(cut)["w"].tolist() == [[0.5, 1.0], [2.0, 2.5]]
    assert cut_to_common([first, first])[0]["w"].equal(first["w"])


def test_what_the_terminals_have_in_common_is_the_smallest_of_them():
    states = [model_named(name).state_dict() for name in ("M1", "M2", "M3")]
    for name, tensor in cut_to_common(states)[0].items():
        assert tensor.shape == states[2][name].shape


def test_cameras_with_fewer_frames_a_second_see_the_same_time():
    camera = Camera(name="campus", place="campus")
    whole, third = camera.uploaded(0, QUICK), camera.uploaded(0, QUICK, 1 / 3)
    assert set(third.indices) <= set(whole.indices)
    assert (len(whole), len(third)) == (24, 8)
    assert camera.later(0, QUICK).indices[0] > whole.indices[-1]


def _run(folder, method, seed, windows=1):
    """A run folder with two terminals, trainings of 10 and 30 s, and a teacher that wins 0.1."""
    events = [{"event": "accuracy", "window": 0, "model": model, "scene": scene, "stage": stage, "score": score}
              for scene, gain in (("campus", 0.1), ("village", 0.3))
              for model, stage, score in ((scene, "before", 0.4), (scene, "after", 0.4 + gain),
                                          ("teacher", "before", 0.5), ("teacher", "after", 0.6))]  # fmt: skip
    for terminal, seconds in (("campus", 10.0), ("village", 30.0)):
        for kind, share in (("mutual", 0.4), ("distil", 0.6), ("label", 5.0)):
            events.append({"event": "task", "window": 0, "name": f"w0/{kind}/{terminal}", "kind": kind,
                           "terminal": terminal, "started_s": 1.0, "ended_s": 1.0 + share * seconds})  # fmt: skip
    path = folder / f"{method}-{seed}"
    path.mkdir(parents=True)
    (path / "metrics.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    config = load_preset("quick").document()
    config["terminals"] = config["terminals"][:2]
    config["window"]["count"] = windows
    header = {"format": 2, "status": "complete", "method": method, "config": config,
              "metric": "mAP@0.50", "second_metric": ["map", "mAP@0.50:0.95"]}  # fmt: skip
    (path / "run.json").write_text(json.dumps(header))


def test_table_4_reads_the_runs(tmp_path):
    for method in ("A3", "A1", "A2", "A4", "NestEvo"):
        _run(tmp_path, method, 7)
    found = methods(tmp_path, 7)
    assert found["NestEvo/village"] == pytest.approx(0.7)
    assert found["A1/mean"] == pytest.approx(0.6)
    assert (found["A2/teacher-before"], found["A2/teacher-after"]) == pytest.approx((0.5, 0.6))


def test_figure_12_simulates_trainings_as_long_as_measured(tmp_path, monkeypatch):
    monkeypatch.setattr("nestevo_hw.studies.reproduce.methods.JITTER", 0.0)
    _run(tmp_path, "NestEvo", 0)
    found = schedules(tmp_path, 0)
    assert 2 * TASK_BYTES < 10e9 < 3 * TASK_BYTES
    # Both fit: without contention nobody waits; one after another the second waits for the first, of 10 s.
    assert found["apart/knapsack"] == pytest.approx((10 + 30) / 2)
    assert found["apart/serial"] == pytest.approx((10 + 40) / 2)
    # Taking turns the first ends after 20 s, and the second has 20 s of work left.
    assert found["shared/knapsack"] == pytest.approx((20 + 40) / 2)


def keys_of(name, effort):
    keys = {key for item in items(effort) for part in (*item.rows, *item.claims) for key in part.keys}
    return {key.removeprefix(f"{name}/") for key in keys if key.startswith(f"{name}/")}


@pytest.mark.slow
def test_memory_of_the_papers_models_falls_with_pooled_frames():
    found = memory(QUICK, 0)
    assert keys_of("memory", QUICK) == set(found)
    # Two detectors of 41 M parameters: weights and momentum alone are 0.66 GB.
    assert 0.66 < found["1/pooled"] < found["3/pooled"] < found["1/whole"] < found["3/whole"] < 16.0


@pytest.mark.slow
def test_every_experiment_gives_what_the_items_ask_for():
    runs = {"drift": drift, "features": features, "average": averages, "compression": compression,
            "threshold": thresholds, "chip": chips}  # fmt: skip
    for name, experiment in runs.items():
        found = experiment(QUICK, 0)
        missing = keys_of(name, QUICK) - set(found)
        # Of table 3 --quick has the first point in time only; and it may have no frame that is pooled.
        unpooled = name == "compression" and not found["pooled"]
        assert not {
            key for key in missing if "/t2/" not in key and "/t3/" not in key and not (unpooled and "compressed" in key)
        }, name
        assert mean(found.values()) == pytest.approx(mean(found.values()), nan_ok=False), name


def test_the_quick_impression_is_smaller_everywhere():
    assert (QUICK.seeds, QUICK.uploaded, QUICK.steps) < (FULL.seeds, FULL.uploaded, FULL.steps)
    assert QUICK.comparison(None).window.count < FULL.comparison(None).window.count
    assert FULL.comparison(None) == load_preset("quick")
    assert {number for number, _ in EXPERIMENTS.items()} == set(range(1, 9))
