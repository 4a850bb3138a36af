"""How a command ends: what it says, and the code that a script sees."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from nestevo_hw.cli import main
from nestevo_hw.commands.options import machine_readable


def ended_by(number: int) -> click.Command:
    @click.command()
    @machine_readable
    def command(*, as_json: bool) -> None:
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        os.kill(os.getpid(), number)

    return command


@pytest.mark.parametrize(
    ("number", "code", "by"),
    [(signal.SIGINT, 130, ""), (signal.SIGTERM, 143, " by SIGTERM"), (signal.SIGHUP, 129, " by SIGHUP")],
)
def test_a_signal_is_one_line_and_a_code_of_its_own(number: int, code: int, by: str) -> None:
    ended = CliRunner().invoke(ended_by(number))
    assert (ended.exit_code, ended.stderr) == (code, f"Error: stopped{by}; run the same command again\n")
    told = CliRunner().invoke(ended_by(number), ["--json"])
    assert told.exit_code == code
    assert json.loads(told.stderr)["error"]["type"] == "StoppedError"


@pytest.mark.parametrize(("failures", "code"), [(0, 0), (2, 3), ({}, 0), ({"A4, seed 0": ["killed"]}, 3)])
def test_a_command_that_ends_without_some_of_its_tasks_says_so(failures: object, code: int) -> None:
    @click.command()
    @machine_readable
    def command(*, as_json: bool) -> dict[str, object]:
        return {"failures": failures}

    ended = CliRunner().invoke(command, ["--json"])
    assert (ended.exit_code, json.loads(ended.stdout)) == (code, {"failures": failures})


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "evolve --metod A4",
            "No such option '--metod'. (Did you mean one of: '--method', '--seed'?); see `nestevo-hw evolve --help`",
        ),
        (
            "evolve --windows x",
            "Invalid value for '--windows': need a whole number from 1 to 10000, got x; see `nestevo-hw evolve --help`",
        ),
        ("dynamic run x", "Missing option '--source'; see `nestevo-hw dynamic run --help`"),
        ("nosuch", "No such command 'nosuch'; see `nestevo-hw --help`"),
        ("--nosuch", "No such option '--nosuch'; see `nestevo-hw --help`"),
    ],
)
def test_a_wrong_command_line_is_one_line(words: str, told: str) -> None:
    ended = CliRunner().invoke(main, words.split(), prog_name="nestevo-hw")
    assert (ended.exit_code, ended.stdout, ended.stderr) == (2, "", f"Error: {told}\n")
    if words != "--nosuch":
        ended = CliRunner().invoke(main, [*words.split(), "--json"], prog_name="nestevo-hw")
        assert (ended.exit_code, json.loads(ended.stderr)) == (2, {"error": {"type": "ConfigError", "message": told}})


def test_a_group_without_a_command_shows_its_help() -> None:
    ended = CliRunner().invoke(main, ["dynamic"], prog_name="nestevo-hw")
    assert (ended.exit_code, "Examples:" in ended.output) == (2, True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("words", "encoding"),
    [
        ("schedule TASKS --json", "utf-8"),
        ("schedule TASKS", "utf-8"),
        ("schedule --help", "utf-8"),
        ("schedule --help", "ascii"),
        ("--version", "utf-8"),
    ],
)
def test_what_stdout_has_no_space_for_is_one_line(words: str, encoding: str) -> None:
    tasks = Path(__file__).parents[2] / "examples" / "tasks.json"
    command = [sys.executable, "-m", "nestevo_hw", *words.replace("TASKS", str(tasks)).split()]
    with Path("/dev/full").open("w") as full:
        environment = os.environ | {"PYTHONIOENCODING": encoding}
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment)
    assert ended.returncode == 1
    told = json.loads(ended.stderr)["error"]["message"] if "--json" in words else ended.stderr.removeprefix("Error: ")
    assert told.strip() == "cannot write stdout: No space left on device; free space or choose another place"


def test_what_the_encoding_of_a_terminal_lacks_is_shown_all_the_same() -> None:
    tasks = Path(__file__).parents[2] / "examples" / "tasks.json"
    ended = CliRunner(charset="latin-1").invoke(main, ["schedule", str(tasks)], prog_name="nestevo-hw")
    assert (ended.exit_code, ended.exception) == (0, None)
    assert "campus" in ended.output
