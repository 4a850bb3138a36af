"""Killed or terminated at random moments, again and again: what comes out is as if nothing had happened."""

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from small_run import SMALL

pytestmark = pytest.mark.slow
KILLS = 4
Arguments = Sequence[str | Path]
ENDED = {-signal.SIGKILL, -signal.SIGTERM, 128 + signal.SIGTERM}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "nestevo_hw", *map(str, arguments)]


def finish(arguments: Arguments) -> float:
    """Run a command to its end; returns how long it took, seconds."""
    began = time.monotonic()
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False, timeout=3600)
    assert done.returncode == 0, done.stderr
    return time.monotonic() - began


def interrupt(arguments: Arguments, after_s: float, number: int) -> None:
    """Send a command a signal after so many seconds, if it has not ended before."""
    with subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        try:
            process.wait(after_s)
        except subprocess.TimeoutExpired:
            process.send_signal(number)
        said = process.communicate(timeout=60)[1]
        assert process.returncode in ENDED | {0}, said
        assert "Traceback" not in said
        assert said.count("Error: ") <= 1, said  # beside lines on what it is at


def survive(
    first: Sequence[str | Path], again: Sequence[str | Path], begun: Callable[[], bool], whole_s: float
) -> None:
    """Stop a command at random moments, going on each time, and let it end."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"moments drawn with seed {seed}")
    chance = random.Random(seed)
    for number in (signal.SIGKILL, signal.SIGTERM) * (KILLS // 2):
        interrupt(again if begun() else first, chance.uniform(0.0, whole_s), number)
    finish(again if begun() else first)


def left_over(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name == ".lock" or path.suffix == ".tmp"]


def test_a_run_survives_kills_at_any_moment(tmp_path: Path) -> None:
    def outcome(folder: Path) -> list[dict[str, object]]:
        found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        return [e for e in found if e["event"] not in {"task", "lifecycle"}]

    config, whole, folder = tmp_path / "small.toml", tmp_path / "whole", tmp_path / "killed"
    config.write_text(SMALL)
    whole_s = finish(("evolve", config, "--out", whole))
    first, again = ("evolve", config, "--out", folder), ("evolve", "--resume", folder)
    survive(first, again, (folder / "run.json").is_file, whole_s)
    assert outcome(folder) == outcome(whole)
    assert (folder / "report.html").is_file()
    assert left_over(folder) == []


def test_a_benchmark_survives_kills_at_any_moment(tmp_path: Path) -> None:
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    asked = ("bench-noise", "fasterrcnn-tiny", "--quick", "--frames", "4", "--repeats", "2", "--mu", "0.02,0.1")
    whole_s = finish((*asked, "--out", whole))
    first = (*asked, "--out", folder)
    survive(first, (*first, "--resume"), (folder / "journal.jsonl").is_file, whole_s)
    for name in ("results.csv", "results.json"):
        assert (folder / name).read_text() == (whole / name).read_text()
    assert left_over(folder) == []


def test_a_pretraining_survives_kills_at_any_moment(tmp_path: Path) -> None:
    asked = ("pretrain", "--task", "classification", "--steps", "400", "--terminal-steps", "200", "--device", "cpu")
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    whole_s = finish((*asked, "--out", whole))
    first = (*asked, "--out", folder)
    survive(first, (*first, "--resume"), (folder / "digits-cnn-journal.jsonl").is_file, whole_s)
    made = sorted(path.name for path in whole.glob("*.safetensors"))
    assert made == [f"digits-cnn{variant}.safetensors" for variant in ("-m1", "-m2", "-m3", "")]
    assert [name for name in made if (folder / name).read_bytes() != (whole / name).read_bytes()] == []
    assert sorted(path.name for path in folder.iterdir()) == sorted([*made, "digits-cnn-journal.jsonl"])


def test_a_comparison_survives_kills_at_any_moment(tmp_path: Path) -> None:
    def outcome(folder: Path) -> dict[str, object]:
        methods = json.loads((folder / "comparison.json").read_text())["methods"]
        return {m["name"]: [m[figure] for figure in ("terminals", "by_terminal", "teacher")] for m in methods}

    config, whole, folder = tmp_path / "small.toml", tmp_path / "whole", tmp_path / "killed"
    config.write_text(SMALL)
    asked = ("compare", config, "--methods", "NestEvo,A4", "--seeds", "1")
    whole_s = finish((*asked, "--out", whole))
    first = (*asked, "--out", folder)
    survive(first, (*first, "--resume"), lambda: any(path.is_dir() for path in folder.glob("*")), whole_s)
    assert outcome(folder) == outcome(whole)
    assert len(list(folder.glob("*/report.html"))) == 2
    assert left_over(folder) == []


def test_a_profile_survives_kills_at_any_moment(tmp_path: Path) -> None:
    """What was measured differs from run to run, but not what was to be measured, and how often.

    Batches are left out: of a step that takes too long, as on a busy machine, half as large a batch is measured.
    """

    def measured(folder: Path) -> list[tuple[object, dict[str, object], int]]:
        records = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()[1:]]
        specs = [
            {key: r["sample"]["spec"][key] for key in r["sample"]["spec"].keys() - {"batch_size"}} for r in records
        ]
        return [(r["index"], spec, len(r["sample"]["timings"])) for r, spec in zip(records, specs, strict=True)]

    asked = ("profile", "--samples", "16", "--held-out", "4", "--passes", "1")
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    whole_s = finish((*asked, "--out", whole))
    first = (*asked, "--out", folder)
    survive(first, (*first, "--resume"), (folder / "samples.jsonl").is_file, whole_s)
    assert measured(folder) == measured(whole)
    assert {path.name for path in folder.iterdir()} == {path.name for path in whole.iterdir()}
    assert left_over(folder) == []
