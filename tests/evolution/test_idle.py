"""What is set and changes nothing in a run is told, and nothing else is."""

from dataclasses import replace
from pathlib import Path

import pytest

from nestevo_hw.evolution.config import load_config, load_preset, override
from nestevo_hw.evolution.idle import idle_settings
from nestevo_hw.evolution.methods import METHODS
from nestevo_hw.evolution.presets import PRESETS

EXAMPLES = Path(__file__).parents[2] / "examples"
QUICK = load_preset("quick")
IDLE = {
    "the teacher of method A4 does not evolve": {"method": "A4", "drift.gamma": 9.0, "gate.margin": 0.2},
    'drift.decision is "benefit"': {"drift.decision": "benefit", "drift.gamma": 9.0, "mutual.alpha": 0.1},
    'teacher.update is "adapt"': {"teacher.update": "adapt", "drift.epsilon": 2, "mutual.beta": 0.1},
    'teacher.update is "program"': {"adapters.rank": 3},
    'drift.decision is "paper"': {"drift.sure_share": 0.1},
    "drift.gamma is given": {"drift.gamma": 9.0, "drift.false_alarm_rate": 0.3},
    "method NestEvo does not adapt adversarially": {"adversarial.weight": 0.9},
    "method A4 replays no frames": {"method": "A4", "replay.frames": 5},
    "method A3 reuses no earlier model": {"method": "A3", "zoo.size": 7},
    "method Tent deploys its models untried": {"method": "Tent", "deployment.margin": 0.3},
    "deployment.held_back is 0": {"deployment.held_back": 0.0, "deployment.margin": 0.3},
    'trigger.mode is "off"': {"trigger.mode": "off", "trigger.margin": 0.3},
    'groups.by is "none"': {"groups.count": 3},
    "no label is confirmed": {"labels.confirm": False, "confirmation.zoom": 2.0},
    "the teacher is digital": {"teacher.analog": "digital", "refresh.policy": "always"},
    'refresh.policy is "never"': {"refresh.policy": "never", "refresh.margin": 0.2, "refresh.period_h": 3.0},
    'execution.executor is "inline"': {"execution.executor": "inline", "execution.workers": 3},
    'execution.executor is "local"': {"execution.address": "foo:1"},
}  # fmt: skip
"""By the reason, settings of which the last one is idle."""


@pytest.mark.parametrize("why", IDLE)
def test_a_setting_that_nothing_reads_is_told_with_the_reason(why):
    key, value = list(IDLE[why].items())[-1]
    told = [
        line for line in idle_settings(override(QUICK, IDLE[why])) if line.endswith(f": {why}, so nothing comes of it")
    ]
    assert len(told) == 1
    assert f"{key} = {value}" in told[0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_is_told_of_a_preset_under_any_method(preset, method):
    assert idle_settings(replace(load_preset(preset), method=method)) == []


@pytest.mark.parametrize("name", ["bikes", "elastic", "elastic-compare", "night", "vtest"])
def test_nothing_is_told_of_the_examples(name):
    assert idle_settings(load_config(EXAMPLES / f"{name}.toml")) == []


def test_what_would_come_after_the_last_window_is_told():
    first, second, *others = QUICK.terminals
    late = replace(first, joins=2)
    drifting = replace(second, drift=(replace(second.drift[0], window=5),))
    told = idle_settings(replace(QUICK, terminals=(late, drifting, *others)))
    assert told == [
        f"terminal {first.name!r} joins in window 2, after the last one (1), and never takes part; lower joins or "
        "raise window.count",
        f"drift of terminal {second.name!r} begins in window 5, after the last one (1), and never comes; lower it or "
        "raise window.count",
    ]


def test_limits_that_cannot_be_reached_are_told():
    (told,) = idle_settings(override(QUICK, {"drift.epsilon": 9}))
    assert told.startswith("drift.epsilon = 9 is more than the 3 terminals that send frames, so the teacher never")
    assert idle_settings(override(QUICK, {"drift.epsilon": 3})) == []
    (told,) = idle_settings(override(QUICK, {"mutual.plan.batch_size": 1}))
    assert "mutual.replay_frames = 2 leaves no room for new frames in a batch of 1, so 0 are replayed" in told


def test_a_terminal_that_nobody_lends_frames_is_told():
    silent = replace(QUICK.terminals[0], upload_frames=0)
    config = replace(QUICK, terminals=(silent, *QUICK.terminals[1:]))
    assert idle_settings(config) == []
    (told,) = idle_settings(replace(config, method="A4"))
    assert told.startswith(f"terminal {silent.name!r} sends no frames, and under method A4 none lends it any")
