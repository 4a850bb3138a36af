"""Configurations: presets are valid, mistakes are named with their place."""

import re
import subprocess
import sys

import pytest

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.evolution.config import load_config, load_preset, override, parse_config
from nestevo_hw.evolution.presets import NAMES, PRESETS, preset_text

TERMINAL = {"name": "a", "model": "fasterrcnn-tiny-m1", "place": "campus"}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_valid_and_survive_a_round_trip(name):
    config = load_preset(name)
    assert parse_config(config.document(), source="round trip") == config


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sede": 1}, "x.toml: sede: there is no such key"),
        ({"window": {"count": "two"}}, "x.toml: window.count: input should be a number from 1"),
        ({"window": {"count": 0}}, "window.count: input should be a number from 1 to 10000"),
        ({"mutual": {"plan": {"stps": 1}}}, "x.toml: mutual.plan.stps: there is no such key"),
        (
            {"teacher": {"device": "pcm"}},
            r"x.toml: teacher.device: unknown key \(got 'pcm'\); .* is teacher.analog",
        ),
        ({"method": "A9"}, "x.toml: method: input should be one of NestEvo, A1, A2"),
        ({"terminals": []}, "at least one"),
        (
            {"terminals": [TERMINAL, TERMINAL]},
            "terminals.name: names must differ, also without regard to case, got a, a",
        ),
        ({"terminals": [{**TERMINAL, "video": "x.mp4"}]}, "give either place, video, data or remote = true"),
        ({"terminals": [{**TERMINAL, "name": "../x"}]}, "terminals.name: got '../x'; use letters, digits"),
        ({"terminals": [{**TERMINAL, "name": "x" * 129}]}, "takes 129 bytes; use at most 128, it names files"),
        ({"terminals": [{**TERMINAL, "group": "../../x"}]}, "terminal 'a': group: got '../../x'; use letters"),
        ({"terminals": [{**TERMINAL, "group": ""}]}, "terminal 'a': group: got ''"),
        ({"terminals": [{**TERMINAL, "group": "g\n"}]}, "terminal 'a': group: got 'g.*n'; use letters"),
        ({"terminals": [TERMINAL, {**TERMINAL, "name": "A"}]}, "without regard to case, got a, A"),
        (
            {"terminals": [{**TERMINAL, "group": "G"}, {**TERMINAL, "name": "b", "group": "g"}]},
            "terminals.group: names",
        ),
        ({"terminals": [{**TERMINAL, "name": "teacher"}]}, "'teacher' stands for something else in a run; choose"),
        ({"terminals": [{**TERMINAL, "name": "Teacher"}]}, "'Teacher' stands for something else"),
        (
            {"terminals": [{**TERMINAL, "name": "group-g", "group": "g"}], "groups": {"by": "name"}},
            "'group-g' stands for something else",
        ),
        (
            {"terminals": [{**TERMINAL, "name": "group-group1"}], "groups": {"by": "features"}},
            "'group-group1' stands for something else",
        ),
    ],
)
def test_mistakes_are_named_with_their_place(change, message):
    with pytest.raises(ConfigError, match=message.replace("'", ".")):
        parse_config({"terminals": [TERMINAL], **change}, source="x.toml")


def test_missing_and_broken_files_say_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="write one with `nestevo-hw init"):
        load_config(tmp_path / "absent.toml")
    (tmp_path / "broken.toml").write_text("seed = [")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(tmp_path / "broken.toml")


def test_overrides_reach_nested_values_and_none_leaves_them_alone():
    config = override(load_preset("quick"), {"window.count": 7, "seed": None})
    assert config.window.count == 7
    assert config.seed == load_preset("quick").seed


def test_unknown_presets_name_the_known_ones():
    with pytest.raises(ConfigError, match="choose from quick, digits, paper"):
        preset_text("huge")


def test_comments_list_what_there_is():
    text = preset_text("quick")
    for names in NAMES.values():
        assert ", ".join(names) in text
    assert not re.search(r"\{\w+\}", "".join(map(preset_text, PRESETS)))


def test_init_is_instant():
    code = "import sys, nestevo_hw.evolution.presets; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_names_of_files_may_be_as_usual():
    terminals = [{**TERMINAL, "name": name, "group": "nord-2"} for name in ("gate_1", "größe", "group-x", "北")]
    config = parse_config({"terminals": terminals, "groups": {"by": "name"}}, source="x.toml")
    assert [t.name for t in config.terminals] == ["gate_1", "größe", "group-x", "北"]
