"""Every command that can go on in a folder refuses one in which another is at work."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner
from small_run import SMALL

from nestevo_hw.base.locking import LOCK, one_writer
from nestevo_hw.cli import main

COMMANDS = {
    "evolve": ("evolve", "small.toml"),
    "compare": ("compare", "small.toml", "--quick"),
    "compare --resume": ("compare", "small.toml", "--quick", "--resume"),
    "bench-noise": ("bench-noise", "fasterrcnn-tiny", "--quick"),
    "bench-noise --resume": ("bench-noise", "fasterrcnn-tiny", "--quick", "--resume"),
    "harden": ("harden", "digits-cnn", "--quick"),
    "harden --resume": ("harden", "digits-cnn", "--quick", "--resume"),
    "pretrain": ("pretrain",),
    "pretrain --resume": ("pretrain", "--resume"),
    "profile": ("profile", "--quick"),
    "profile --resume": ("profile", "--quick", "--resume"),
    "reproduce": ("reproduce", "table-6", "--quick"),
    "reproduce --resume": ("reproduce", "table-6", "--quick", "--resume"),
}


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_folder_in_use_is_refused(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(SMALL)
    with one_writer(Path("held")):
        refused = CliRunner().invoke(main, [*arguments, "--out", "held"])
        assert [path.name for path in Path("held").iterdir()] == [LOCK]
    assert refused.exit_code == 2
    errors = [line for line in refused.stderr.splitlines() if line.startswith("Error")]
    assert len(errors) == 1
    assert errors[0].startswith(f"Error: held is in use: process {os.getpid()} on ")


@pytest.mark.parametrize("name", [name for name in COMMANDS if "--resume" in name])
def test_there_is_nothing_to_resume_in_no_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small.toml").write_text(SMALL)
    refused = CliRunner().invoke(main, [*COMMANDS[name], "--out", "nowhere"])
    assert (refused.exit_code, Path("nowhere").exists()) == (2, False)
    assert refused.stderr == "Error: no folder nowhere to go on in; leave --resume out, or correct the path\n"


def test_there_is_no_run_to_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    refused = CliRunner().invoke(main, ["evolve", "--resume", "nowhere"])
    assert refused.exit_code == 2
    assert refused.stderr == "Error: no folder nowhere to go on in; leave --resume out, or correct the path\n"
    Path("empty").mkdir()
    refused = CliRunner().invoke(main, ["evolve", "--resume", "empty"])
    assert refused.exit_code == 2
    said = "Error: empty holds no run to resume; leave --resume out, or correct the path"
    assert refused.stderr.splitlines() == ["loading libraries", said]
