"""`nestevo-hw init` writes a configuration, and over nothing that it should not."""

import os
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from nestevo_hw.commands.init import init
from nestevo_hw.evolution.config import load_config


def test_an_ordinary_file_is_replaced_only_by_force(tmp_path: Path) -> None:
    path = tmp_path / "evolve.toml"
    assert CliRunner().invoke(init, [str(path)]).exit_code == 0
    path.write_text("mine")
    refused = CliRunner().invoke(init, [str(path)])
    assert (refused.exit_code, path.read_text()) == (2, "mine")
    assert CliRunner().invoke(init, [str(path), "--force"]).exit_code == 0
    assert load_config(path).terminals


@pytest.mark.parametrize("kind", ["link", "dangling", "fifo"])
def test_nothing_else_is_replaced(kind: str, tmp_path: Path) -> None:
    path, target = tmp_path / "evolve.toml", tmp_path / "target"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(target)
    if kind == "link":
        target.write_text("mine")
    before = path.lstat()
    refused = CliRunner().invoke(init, [str(path), "--force"])
    assert refused.exit_code == 2
    assert refused.stderr == f"Error: {path} is no ordinary file, so it is not replaced; choose another name\n"
    assert path.lstat().st_ino == before.st_ino
    assert not target.exists() or target.read_text() == "mine"


def test_the_command_that_comes_next_can_be_pasted(tmp_path: Path) -> None:
    path = tmp_path / "ä b.toml"
    told = CliRunner().invoke(init, [str(path)], catch_exceptions=False).stdout
    assert shlex.split(told.partition("Run it with: ")[2]) == ["nestevo-hw", "evolve", str(path)]
