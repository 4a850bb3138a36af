"""Device files on the command line and in runs: written, used, recorded, and noticed when they change."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.cli import main
from nestevo_hw.crossbar.devices.writing import example_text
from nestevo_hw.evolution.check import check_run, teacher_warnings
from nestevo_hw.evolution.config import load_config, override, parse_config
from nestevo_hw.evolution.presets import preset_text
from nestevo_hw.studies.noise.request import Request
from nestevo_hw.studies.noise.sweeps import SWEEPS

SMALL = "[conductance]\ng_max_us = 20.0\n[programming]\ndeviation_us = 0.4\n"


def run(*words: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, list(words))
    return done.exit_code, done.output


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """A configuration beside the device that it names."""
    (tmp_path / "mine.toml").write_text(SMALL)
    config = tmp_path / "evolve.toml"
    config.write_text(preset_text("quick").replace('analog = "pcm"', 'analog = "mine.toml"', 1))
    return config


def test_a_device_is_written_once_and_maps_a_model(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    assert run("init-device", str(path))[0] == 0
    assert path.read_text() == example_text()
    code, text = run("init-device", str(path), "--from", "hermes")
    assert (code, "exists; choose another name, or overwrite it with --force" in text) == (2, True)
    assert run("init-device", str(path), "--from", "hermes", "--force")[0] == 0
    path.write_text(path.read_text() + '[[layers]]\npattern = "head"\nadc_bits = 5\n')
    code, text = run("map", "digits-cnn", "--analog", str(path), "--json")
    assert code == 0
    report = json.loads(text)
    assert report["analog"] == "mine"
    bits = {layer["name"]: layer["hardware"]["converters"]["adc_bits"] for layer in report["layers"]}
    assert bits == {name: 5 if name == "head" else 8 for name in bits}
    code, text = run("map", "digits-cnn", "--analog", str(path), "--no-program")
    assert code == 0
    assert "mine, 256 x 256, 8-bit DAC, 5-bit ADC of its own range" in text


def test_a_device_of_ones_own_is_swept_beside_shipped_ones(tmp_path: Path) -> None:
    path, out = tmp_path / "mine.toml", tmp_path / "out"
    path.write_text(example_text())
    words = ("bench-noise", "digits-cnn", "--sweep", f"analog=pcm,{path}", "--repeats", "2", "--frames", "8",
             "--out", str(out))  # fmt: skip
    code, text = run(*words)
    assert (code, "mine.toml" in text) == (0, True), text
    document = json.loads((out / "results.json").read_text())
    assert {point["value"] for point in document["points"] if point["sweep"] == "analog"} == {"pcm", str(path)}
    path.write_text(example_text().replace("g_max_us = 25.0", "g_max_us = 20.0"))
    code, text = run(*words, "--resume")
    assert (code, "holds scores of another configuration" in text) == (2, True), text
    assert run("bench-noise", "digits-cnn", "--sweep", "analog=nowhere.toml", "--out", str(tmp_path / "no"))[0] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["device.ini"], "a device file ends in .toml"),
        (["d.toml", "--from", "flash"], "unknown device 'flash'"),
        (["d.toml", "--from", "pcm", "--rpu", "a:b"], "either --from or --rpu"),
        (["d.toml", "--rpu", "nowhere:x"], "cannot import 'x' from module 'nowhere'"),
    ],
)
def test_what_cannot_be_written_is_refused(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = run("init-device", *words)
    assert (code, message in text) == (2, True)
    assert not list(tmp_path.iterdir())


def test_what_a_file_has_not_of_an_rpu_configuration_is_told(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    code, text = run("init-device", str(path), "--rpu", "aihwkit.simulator.configs:TorchInferenceRPUConfig", "--json")
    assert code == 0
    left_out = json.loads(text)["left_out"]
    assert "forward.bound_management = ITERATIVE (NONE here)" in left_out
    assert all(f"#   {line}" in path.read_text() for line in left_out)


def test_a_device_that_is_not_there_is_told_with_its_setting(configured: Path) -> None:
    (configured.parent / "mine.toml").unlink()
    code, text = run("evolve", str(configured), "--check")
    assert code == 2, text
    assert f"teacher.analog: no file {configured.parent / 'mine.toml'}; check the path" in text


def test_a_run_records_the_device_and_notices_a_change(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device, elsewhere = configured.parent / "mine.toml", configured.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)  # the path is relative to the configuration
    config = load_config(configured)
    assert config.teacher.analog == str(device.resolve())
    assert config.teacher.analog_text == SMALL
    assert teacher_warnings(config) == []
    stored = parse_config(json.loads(json.dumps(config.document())), source="run.json")
    device.write_text(SMALL.replace("20.0", "10.0"))
    assert stored.teacher.preset is not None
    assert stored.teacher.preset.g_max_us == 20.0
    assert teacher_warnings(stored) == [
        f"{device.resolve()} has changed since this run started; the run goes on with the device as it was recorded"
    ]
    device.unlink()  # a run that was moved
    assert teacher_warnings(stored) == []
    assert stored.teacher.preset.name == "mine"
    assert override(stored, {"teacher.analog": "digital"}).teacher.preset is None


def test_a_run_with_a_bad_device_does_not_start(configured: Path) -> None:
    device = configured.parent / "mine.toml"
    config = load_config(configured)

    def checked(text: str) -> None:
        check_run(replace(config, teacher=replace(config.teacher, analog_text=text)))

    checked(SMALL)
    for text, message in (
        (
            SMALL + "[[layers]]\npattern = 'none.*'\ntile = 64\n",
            "device mine: layers: pattern 'none.*' matches no layer",
        ),
        (SMALL + "[times]\nlatest_s = 100.0\n", "device mine has no model beyond 100 s"),
        (SMALL + "x = 1", "mine.toml: programming.x: there is no such key"),
    ):
        with pytest.raises(ConfigError, match=message):
            checked(text)
    device.unlink()
    with pytest.raises(ConfigError, match=r"no file .*mine\.toml"):
        load_config(configured)


def test_a_benchmark_keeps_the_device_that_it_began_with(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SMALL)
    study = Request(model="digits-cnn", analog=str(path), sweeps=("time_s=0,60",), quick=True).study()
    path.write_text(SMALL.replace("20.0", "10.0"))
    assert study.setup.hardware.preset.g_max_us == 20.0
    assert study.subject.identity()["analog_text"] == SMALL


def test_a_benchmark_keeps_the_devices_that_it_sweeps(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(SMALL)
    study = Request(model="digits-cnn", sweeps=(f"analog=pcm,{path}",), quick=True).study()
    path.write_text(SMALL.replace("20.0", "10.0"))
    assert study.subject.identity()["device_files"] == [{"path": str(path), "text": SMALL}]
    (swept,) = (trial.value for trial in study.trials if trial.value == str(path) and trial.repeat == 0)
    own = SWEEPS["analog"].setting(study.setup.hardware, swept).hardware
    assert own is not None
    assert own.preset.g_max_us == 20.0
