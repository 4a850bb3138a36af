"""What `evolve` tells while it runs, and how soon it tells what is wrong."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import click
import pytest

from nestevo_hw.commands import pulse as pulse_module
from nestevo_hw.commands.options import machine_readable
from nestevo_hw.commands.progress import progress_bar, telling
from nestevo_hw.commands.pulse import Pulse
from nestevo_hw.evolution.outlook import task_words
from nestevo_hw.scheduler.task import Task


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that progress and pulse take for the time."""
    now_s = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    return now_s


def told_by(work: Callable[[Pulse], None], *, quiet: bool = False) -> None:
    """Run something in a command that has a pulse."""

    @click.command()
    def command() -> None:
        pulse = click.get_current_context().meta[pulse_module.__name__] = Pulse("at work", quiet=quiet)
        work(pulse)

    command.main([], standalone_mode=False)


def test_without_a_terminal_a_line_says_where_it_is(capsys: pytest.CaptureFixture[str], clock: list[float]) -> None:
    def work(pulse: Pulse) -> None:
        with telling("loading", at_once=True) as told:
            told.expect(3, "starting", work=40.0)
            pulse.beat()
            clock[0] = 30.0
            told.advance("one", 10.0)  # 30 s for 10 of 40: the other 30 take 90 s
            pulse.beat()
            told.advance("found done", 10.0)
            clock[0] = 63.0
            pulse.beat()
            clock[0] = 92.0
            pulse.beat()

    told_by(work)
    assert capsys.readouterr().err.splitlines() == [
        "loading",
        "starting (0.0 s so far)",
        "1 of at most 3, one; at most about 90 s left (30 s so far)",
        "2 of at most 3, found done; at most about 27 s left (63 s so far)",
        "2 of at most 3, found done (92 s so far)",
    ]


def test_a_command_for_machines_says_nothing_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    def work(pulse: Pulse) -> None:
        with progress_bar(2, "first") as advance:
            advance("second")
            pulse.beat()

    told_by(work, quiet=True)
    assert not capsys.readouterr().err


def test_a_silent_command_beats_by_itself(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulse_module, "LINE_EVERY_S", 0.01)
    beaten = threading.Event()
    monkeypatch.setattr(Pulse, "beat", lambda _: beaten.set())

    @click.command()
    @machine_readable
    def command(*, as_json: bool) -> None:
        assert not as_json
        assert beaten.wait(30)

    command.main([], standalone_mode=False)
    assert not capsys.readouterr().err


def test_where_a_run_is_is_said_in_words() -> None:
    task = Task(name="w0/mutual/campus", kind="mutual", function="a:b", payload={}, memory_bytes=1, duration_s=1.0)
    words = "terminal and intermediate model learn from each other"
    assert task_words(task, 2) == f"window 0 (1 of 2): {words}, campus"
    assert task_words(replace(task, name="setup/prepare", kind="prepare"), 2) == "setup: prepares the first teacher"


@pytest.mark.parametrize(
    ("arguments", "text", "said"),
    [
        (["file.toml"], None, "no file file.toml; write one with `nestevo-hw init file.toml`"),
        (["file.toml"], "seed = = 1", "file.toml is not valid TOML: Invalid value (at line 1, column 8)"),
        (["--preset", "nope"], None, "unknown preset 'nope'; choose from quick, digits, paper, paper-embedded"),
        (["--resume", "gone"], None, "no folder gone to go on in; leave --resume out, or correct the path"),
    ],
)
def test_what_needs_no_torch_to_be_refused_is_refused_without(
    arguments: list[str], text: str | None, said: str, tmp_path: Path
) -> None:
    if text is not None:
        (tmp_path / "file.toml").write_text(text)
    script = (
        "import sys; from nestevo_hw.cli import main\ntry:\n    main()\nfinally:\n    assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "evolve", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (2, f"Error: {said}\n")
