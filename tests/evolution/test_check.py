"""A configuration that cannot run is refused before anything runs, with one clear line."""

import pytest

from nestevo_hw.base.errors import ConfigError, NestEvoError
from nestevo_hw.evolution.check import check_run
from nestevo_hw.evolution.config import load_preset, override, parse_config
from nestevo_hw.evolution.run import evolve


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"teacher.model": "absent.safetensors"}, "no checkpoint 'absent.safetensors'"),
        ({"window.length_s": 3.0}, "too few for 96 uploaded ones"),
        ({"teacher.device": "memristor"}, "memristor"),
        ({"groups.by": "name"}, "terminal 'campus': .* needs a group for every terminal"),
        ({"groups.by": "place"}, "terminal 'campus': .* needs its position_m"),
        ({"groups.by": "features", "groups.count": 4}, "4 groups are wanted of 3 terminals"),
        ({"sampling.budget_frames": 50}, "50 frames do not give 3 terminals 24 each"),
        ({"method": "naive-average"}, "differ in structure"),
        ({"task": "segmentation"}, "task: input should be one of detection, classification"),
        ({"drift.false_alarm_rate": 0.001}, "needs at least 999 in-domain segments, got 20"),
    ],
)
def test_mistakes_are_found_before_the_folder_is_made(changes, message, tmp_path):
    with pytest.raises(NestEvoError, match=message):
        evolve(override(load_preset("quick"), changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_unknown_drift_and_absent_gpu_are_named(monkeypatch):
    document = load_preset("quick").document()
    document["terminals"][0]["drift"][0]["kind"] = "snow"
    with pytest.raises(ConfigError, match=r"0.drift.0.kind: input should be one of fog, rain, .* \(got 'snow'\)"):
        check_run(parse_config(document, source="test"))
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigError, match="no CUDA device"):
        check_run(override(load_preset("quick"), {"execution.device": "cuda"}))


def test_the_default_passes():
    check_run(load_preset("quick"))


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"method": "NestEvo"}, "mutual learning, which method NestEvo needs"),
        ({"method": "A1"}, "adversarial adaptation, which method A1 needs"),
        ({"method": "A4", "labels.confirm": True}, "label confirmation, which labels.confirm needs"),
        ({"method": "A4", "compression.enabled": True}, "smaller input, which compression.enabled needs"),
    ],
)
def test_a_task_that_cannot_do_what_is_wanted_is_refused_by_name(changes, missing, monkeypatch):
    class Plain:
        name = "detection"

    monkeypatch.setattr("nestevo_hw.evolution.check.task_named", lambda _: Plain())
    with pytest.raises(ConfigError, match=f"task 'detection' has no {missing}"):
        check_run(override(load_preset("quick"), changes))
