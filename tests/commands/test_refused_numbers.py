"""Numbers that mean nothing are refused by every command, at once, in one short line, and nothing is written."""

import json
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from nestevo_hw.cli import main

TASK = {"name": "a", "memory_gb": 1.0, "duration_s": 1.0}
OPTIONS = {
    "evolve": {
        "--windows": ["1e12", "1000000000000", "0", "nan", "-1", "²"],
        "--workers": ["0", "1e9", "1000000"],
        "--seed": ["nan", "1.5", "9" * 5000],
        "--device": ["tpu"],
    },
    "compare": {"--seeds": ["0", "1000000000"], "--windows": ["1e12"], "--workers": ["inf"]},
    "map fasterrcnn-tiny": {
        "--tile": ["0", "-1", "1e3", "²", "9" * 5000, "256x", "65537"],
        "--pairs": ["0", "1000000000", "nan"],
        "--weight-bits": ["-1", "1000000000"],
        "--cell-bits": ["-1", "25"],
        "--chip isaac --frames": ["0", "1000000000000"],
        "--chip isaac --chips": ["0", "1000000000000"],
        "--chip isaac --no-program --size": ["0x0", "²x²", "1000000x1000000", "9" * 5000 + "x1"],
        "--seed": ["nan"],
    },
    "bench-noise fasterrcnn-tiny": {
        "--mu": ["nan", "inf", "-1", "0.1,nan", "1e9"],
        "--times": ["-1", "nan", "1e300"],
        "--adc-bits": ["nan", "1", "1e30", "2.5", "-4"],
        "--output-noise": ["nan", "-1"],
        "--sweep": ["tile=nan", "tile=0", "tile=1e30", "stuck_cells=2", "ir_drop=nan", "mu=" + "0.1," * 101],
        "--noise-aware": ["nan", "0", "-1", "inf"],
        "--repeats": ["1", "1000000000"],
        "--frames": ["0", "1000000000"],
        "--workers": ["0", "1000000"],
    },
    "harden digits-cnn": {
        "--age": ["nan", "-1", "inf"],
        "--steps": ["0", "1000000000"],
        "--batch-size": ["0", "1000000"],
        "--learning-rate": ["nan", "0", "-1", "11"],
        "--samples": ["0", "1000000000"],
        "--drop-connect": ["nan", "-0.1", "1"],
        "--clip": ["nan", "-1", "inf"],
        "--compare": ["nan", "-1", "2"],
        "--seeds": ["0", "1000000000"],
        "--repeats": ["1", "1000000000"],
        "--frames": ["0", "1000000000"],
        "--seed": ["nan"],
    },
    "sensitivity fasterrcnn-tiny": {
        "--age": ["nan", "-1", "inf"],
        "--target-loss": ["nan", "-1", "2"],
        "--repeats": ["1", "1000000000"],
        "--frames": ["0", "1000000000"],
    },
    "profile": {
        "--samples": ["0", "1000000000"],
        "--held-out": ["0", "1000000000"],
        "--passes": ["0", "1000000000"],
        "--minutes": ["nan", "0", "inf"],
    },
    "pretrain --out new": {
        "--steps": ["0", "1000000000"],
        "--terminal-steps": ["0", "nan"],
        "--until": ["0"],
        "--long-side": ["0", "40000"],
        "--patience": ["0", "nan"],
        "--frames": ["0", "1000000000"],
    },
    "record tasks.json new.mp4 --seconds 1": {
        "--seconds": ["nan", "0", "-1", "inf", "1e300"],
        "--fps": ["nan", "0", "1e9"],
        "--patience": ["nan", "-1", "1e30"],
    },
    "label tasks.json --labeller tasks.json --out new.json": {
        "--stride": ["0", "1000000000000", "nan"],
        "--score": ["nan", "2", "-1"],
        "--unsure": ["nan", "inf"],
        "--threads": ["0", "1000000000"],
    },
    "export digits-cnn-m3 --out new": {"--score": ["nan", "2"], "--size": ["0x0", "100000x100000", "nan"]},
    "serve tasks.json": {
        "--port": ["-1", "65536", "nan"],
        "--windows": ["0", "1e12"],
        "--workers": ["0", "1000000000"],
    },
    "terminal http://127.0.0.1:9 --name a --token-file tasks.json --source tasks.json": {
        "--every": ["0", "1000000000000"],
        "--budget-mb": ["nan", "0", "inf"],
        "--period": ["0", "nan"],
        "--margin": ["nan", "2"],
        "--judged": ["0", "1000000000"],
        "--ask-every": ["0", "nan"],
        "--poll": ["0", "inf"],
    },
    "schedule tasks.json": {
        "--memory-gb": ["nan", "inf", "0", "-1", "1e300"],
        "--workers": ["0", "1000000000"],
        "--duration-error": ["nan", "-1", "inf", "1e9"],
        "--memory-error": ["nan", "-1"],
        "--contention": ["nan", "-1", "1e9"],
        "--patience-s": ["nan", "-1", "inf"],
        "--window-s": ["nan", "0", "-1", "inf"],
        "--seed": ["nan"],
    },
}
CASES = [(c, o, v) for c, options in OPTIONS.items() for o, values in options.items() for v in values]
TASK_LISTS = [
    [TASK | {"duration_s": float("nan")}],
    [TASK | {"memory_gb": float("inf")}],
    [TASK | {"memory_gb": 1e300}],
    [TASK | {"memory_gb": -1}],
    [TASK | {"duration_s": 0}],
    [TASK | {"duration_s": 10**400}],
    [TASK | {"duration_s": "1"}],
    [TASK | {"cores": 10**9}],
    [TASK | {"priority": 10**30}],
    [TASK | {"expected_gain": 2}],
    [TASK | {"arrives_s": -1}],
    [TASK | {"name": "x" * 10**6}],
    [TASK | {"x" * 10**6: 1}],
    [TASK | {"name": f"t{k}"} for k in range(1001)],
]


def refused(arguments: list[str]) -> str:
    """What the command says when it refuses, which it does with exit code 1 or 2 and without a traceback."""
    started = time.process_time()
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code in (1, 2), result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    said = result.stderr.splitlines()[-1]
    assert said.startswith("Error: ")
    assert len(said) < 650
    assert time.process_time() - started < 5.0
    return said


@pytest.mark.parametrize(("command", "option", "value"), CASES, ids=lambda text: text[:20])
def test_options(command: str, option: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tasks.json").write_text(json.dumps([TASK]))
    refused([*command.split(), *option.split(), value])
    assert [path.name for path in tmp_path.iterdir()] == ["tasks.json"]


@pytest.mark.parametrize("tasks", TASK_LISTS, ids=lambda tasks: json.dumps(tasks)[:60])
def test_task_lists(tasks: list[dict[str, object]], tmp_path: Path) -> None:
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(tasks))
    assert str(path) in refused(["schedule", str(path)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gate.margin = nan", "gate.margin: input should be a number from 0 to 1 (got nan)"),
        ("[window]\nupload_frames = 1000000000", "window.upload_frames: input should be a number from 1 to 10000"),
        ("[link]\nupload_mbit_s = 0", "link.upload_mbit_s: input should be a number from 0.001"),
        ("[drift]\nepsilon = -1", "drift.epsilon: input should be a number from 1"),
        ("[distil]\nsoft_share = 5", "distil.soft_share: input should be a number from 0 to 1"),
        ("method = '" + "x" * 900_000 + "'", "method: input should be one of"),
        ("x" * 900_000 + " = 1", "there is no such key"),
        ("x = '" + "x" * 10**6 + "'", "is larger than 1 MB"),
        ("a = {b" + " . b" * 10**4 + " = 1}", "more than 100 parts"),
        ("a = " + "[" * 10**5, "nested too deeply"),
        ("a" + ".a" * 10**5 + " = 1", "more than 100 parts"),
    ],
    ids=lambda text: text[:30],
)
def test_configurations(text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.toml").write_text(
        text + "\n[[terminals]]\nname = 'a'\nmodel = 'fasterrcnn-tiny-m1'\nplace = 'park'\n", encoding="utf-8"
    )
    for command in (["evolve", "c.toml"], ["compare", "c.toml", "--quick"]):
        said = refused(command)
        assert said.startswith("Error: c.toml")
        assert message in said
    assert [path.name for path in tmp_path.iterdir()] == ["c.toml"]
