"""What cannot work with elastic terminals is refused before anything runs, with one line that says what to do."""

import shutil
from dataclasses import replace

import pytest
import torch

from nestevo_hw.base.errors import ConfigError, InputError, NestEvoError
from nestevo_hw.evolution.check import check_inputs_kept, check_run
from nestevo_hw.evolution.config import load_preset, override, parse_config
from nestevo_hw.models.elastic.export import export_parts
from nestevo_hw.models.elastic.store import save_supernet
from nestevo_hw.models.elastic.supernet import expand
from nestevo_hw.studies.compare.study import plan_study
from nestevo_hw.studies.compare.variants import choose
from tests.models.elastic.nets import SPECS, frames_for, net


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    supernet = expand(net("mobilenet"), frames_for("mobilenet"), spans=(2,), rates=())
    save_supernet(supernet, SPECS["mobilenet"], folder / "supernet.safetensors")
    export_parts(supernet, SPECS["mobilenet"], folder / "parts", torch.zeros(3, 32, 32))
    return folder


def config(home, *, budget=0.9, models=False, remote=False, **changes):
    told = {"elastic.supernet": str(home), "elastic.latency": "macs", "window.count": 1, **changes}
    document = override(load_preset("digits"), told).document()
    terminals = document["terminals"][:2]
    for terminal in terminals:
        terminal.update({"model": "digits-mobilenet"} if models else {"model": None, "latency_budget": budget})
        if remote:
            terminal.update(place=None, remote=True, drift=[])
    return parse_config({**document, "terminals": terminals}, source="test")


def test_what_can_run_is_accepted(home):
    check_run(config(home))
    check_run(config(home, **{"elastic.latency": "measured"}))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"elastic.supernet": "nowhere"}, "^elastic.supernet: no file nowhere/supernet.safetensors"),
        ({"budget": 0.2}, r"^terminal 'counter': latency_budget: no path takes as little as 0\.200 of the base's time"),
        ({"remote": True, "elastic.latency": "measured"}, "'counter' is remote, and its times are to be measured"),
        ({"elastic.in_place_of_models": True}, "no terminal has a model"),
        ({"models": True, "elastic.in_place_of_models": True, "elastic.latency": "a.json"}, "does not say how long"),
        ({"elastic.latency": "nowhere.json"}, "^elastic.latency: no file nowhere.json"),
        ({"method": "naive-average"}, "^naive-average: terminal counter is elastic"),
        ({"task": "detection", "teacher.model": "fasterrcnn-tiny"}, "^elastic.supernet: "),
    ],
)
def test_what_cannot_is_one_line(home, changes, told):
    with pytest.raises(NestEvoError, match=told) as caught:
        check_run(config(home, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"budget": None}, "terminal 'counter' has neither model nor latency_budget; give one"),
        ({"budget": 1.5}, r"terminals\[0\].latency_budget: input should be a number from 0.01 to 1"),
        ({"elastic.latency": "clock"}, "elastic.latency: input should be one of measured, cpu-time, macs or a .json"),
        ({"elastic.margin": 2.0}, "elastic.margin: input should be a number from 0 to 1"),
        ({"elastic.strategy": "magic"}, "elastic.strategy: input should be one of refined, additive"),
    ],
)
def test_impossible_values_are_refused_as_they_are_read(home, changes, told):
    with pytest.raises(ConfigError, match=told):
        config(home, **changes)


def test_code_of_a_supernet_runs_only_where_it_is_named(home, tmp_path):
    supernet = expand(net("mobilenet"), frames_for("mobilenet"), spans=(2,), rates=())
    own = replace(SPECS["mobilenet"], architecture="evil.nets:make")
    save_supernet(supernet, own, tmp_path / "supernet.safetensors")
    with pytest.raises(ConfigError, match=r'^elastic\.supernet: .*only if \[model\] factory = "evil\.nets:make"$'):
        check_run(config(tmp_path))


def test_a_budget_needs_a_supernet(home):
    document = config(home).document()
    document["elastic"]["supernet"] = None
    with pytest.raises(ConfigError, match=r"set elastic\.supernet to a folder"):
        parse_config(document, source="test")


def test_damaged_and_foreign_parts_are_found_at_the_start(home, tmp_path):
    shutil.copytree(home, tmp_path / "home")
    measured = config(tmp_path / "home", **{"elastic.latency": "measured"})
    damaged = tmp_path / "home" / "parts" / "block-3.onnx"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"^elastic\.supernet: .*block-3\.onnx is not the file"):
        check_run(measured)
    other = expand(net("mobilenet"), frames_for("mobilenet"), spans=(3,), rates=())
    save_supernet(other, SPECS["mobilenet"], tmp_path / "home" / "supernet.safetensors")
    shutil.copy(home / "parts" / "block-3.onnx", damaged)
    with pytest.raises(InputError, match="is of another supernet than"):
        check_run(measured)
    shutil.rmtree(tmp_path / "home")
    with pytest.raises(NestEvoError, match=r"elastic\.supernet: .* was there when the run started and is not now"):
        check_inputs_kept(measured)


def test_a_comparison_has_paths_beside_models_where_there_is_a_supernet(home):
    named = choose(["NestEvo", "NestEvo-elastic"], ablations=False)
    plan = plan_study(config(home, models=True), named, 1)
    pruned, elastic = (plan.configs[name, 0] for name in ("NestEvo", "NestEvo-elastic"))
    assert (pruned.elastic_terminals, elastic.elastic_terminals) == ([], ["counter", "belt"])
    assert elastic.fixed_models == {}
    assert pruned.fixed_models == dict.fromkeys(("counter", "belt"), "digits-mobilenet")
    faster = override(load_preset("digits"), {"elastic.supernet": str(home), "elastic.latency": "macs"})
    assert "no path takes as little" in plan_study(faster, named, 1).left_out["NestEvo-elastic"]
    without = plan_study(override(load_preset("digits"), {"window.count": 1}), named, 1)
    assert "set elastic.supernet" in without.left_out["NestEvo-elastic"]
