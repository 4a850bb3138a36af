"""The benchmark of the delay: any configuration, what was varied, and which part of each figure was measured."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.small_run import SMALL

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def delay(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark, whose runs take a made-up time."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("evolution_delay")

    def evolved(config: Any, folder: Path) -> dict[str, Any]:
        module.seen.append(config)
        digital = config.teacher.analog == "digital"
        parts = {"programming_s": 0.0, "labelling_s": 30.0 if digital else 1.0, "training_s": 20.0}
        parts["training_s"] -= 5.0 * config.compression.enabled + 4.0 * (config.execution.policy != "serial")
        origins = {"labelling_s": "measured" if digital else "modelled", "training_s": "measured"}
        return {"delay_s": {"mean": sum(parts.values()), "parts": parts, "origins": origins}}

    monkeypatch.setattr(module, "evolve", evolved)
    module.seen = []
    return module


def run(module: Any, monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr("sys.argv", ["evolution_delay.py", *words])
    module.main()


def test_a_configuration_is_run_with_and_without_each_of_the_three(
    delay: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.toml").write_text(SMALL)
    run(delay, monkeypatch, "--quick", "--json", "--config", str(tmp_path / "mine.toml"))
    found = json.loads(capsys.readouterr().out)
    assert [len(config.terminals) for config in delay.seen] == [2] * 5
    rows = {row["name"]: row for row in found["variants"]}
    assert {name: row["delay_s"] for name, row in rows.items()} == {
        "all three": 12.0, "none": 50.0, "crossbar only": 21.0, "scheduling only": 46.0, "compression only": 45.0,
    }  # fmt: skip
    assert rows["all three"]["less"] == pytest.approx(0.76)
    assert (found["terminals"], found["frame_size"]) == (2, [128, 160])


def test_people_see_what_was_measured_and_what_was_modelled(
    delay: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(delay, monkeypatch, "--repeats", "1")
    lines = capsys.readouterr().out.splitlines()
    analog, digital = (next(line for line in reversed(lines) if line.startswith(n)) for n in ("crossbar", "none"))
    assert analog.split()[-2:] == ["modelled", "measured"]
    assert digital.split()[-2:] == ["measured", "measured"]


def test_what_cannot_run_here_is_said_in_one_line(delay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match=r"Error: .*cuda.*torch finds no GPU|Error: .*checkpoints"):
        run(delay, monkeypatch, "--preset", "paper-embedded")
    assert delay.seen == []
