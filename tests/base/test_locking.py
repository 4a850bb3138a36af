"""A folder has one writer: the second is told who, and a killed one keeps nothing."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nestevo_hw.base.errors import ConfigError, OutputError
from nestevo_hw.base.files import replacing
from nestevo_hw.base.locking import LOCK, is_unused, one_writer

HOLDER = """
import subprocess, sys, time
from pathlib import Path
from nestevo_hw.base.files import replacing
from nestevo_hw.base.locking import one_writer
folder = Path(sys.argv[1])
with one_writer(folder), replacing(folder / "below" / "half.json") as temporary:
    temporary.write_text("{")
    heir = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(heir.pid, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds `tmp_path / "run"`, and has started another one."""
    arguments = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        heir = int(process.stdout.readline())
        yield process
        process.kill()
        os.kill(heir, signal.SIGKILL)


def enter(folder: Path) -> None:
    with one_writer(folder):
        pass


def test_the_second_writer_is_told_who_is_the_first(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        enter(tmp_path / "run")
    text = str(refused.value)
    assert text.startswith(f"{tmp_path / 'run'} is in use: process {holder.pid} on ")
    assert text.endswith("; wait for it, or choose another folder")
    assert "\n" not in text


def test_a_killed_writer_keeps_neither_lock_nor_half_a_file(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    folder = tmp_path / "run"
    assert len(list((folder / "below").iterdir())) == 1
    holder.kill()
    holder.wait()
    with one_writer(folder):
        assert is_unused(folder / "below")
        assert {path.name for path in folder.iterdir()} == {LOCK, "below"}
    assert not (folder / LOCK).exists()


def test_one_process_cannot_hold_a_folder_twice(tmp_path: Path) -> None:
    with one_writer(tmp_path), pytest.raises(ConfigError, match=f"is in use: process {os.getpid()} on "):
        enter(tmp_path)
    enter(tmp_path)


def test_a_folder_in_which_nothing_came_to_be_goes_again(tmp_path: Path) -> None:
    with one_writer(tmp_path / "runs" / "new"):
        assert is_unused(tmp_path / "runs" / "new")
    assert list(tmp_path.iterdir()) == []
    with one_writer(tmp_path / "runs" / "new"):
        (tmp_path / "runs" / "new" / "file").write_text("x")
        assert not is_unused(tmp_path / "runs" / "new")
    assert [p.name for p in (tmp_path / "runs" / "new").iterdir()] == ["file"]


def test_what_another_has_not_finished_makes_no_folder_used(tmp_path: Path) -> None:
    with replacing(tmp_path / "page.html") as temporary:
        temporary.write_text("x")
        assert is_unused(tmp_path)
        (tmp_path / ".notes.tmp").write_text("somebody's own")
        assert not is_unused(tmp_path)


def test_what_lives_is_left_alone(tmp_path: Path) -> None:
    with replacing(tmp_path / "page.html") as temporary:
        temporary.write_text("x")
        (tmp_path / LOCK).write_text("{")  # a writer was killed
        enter(tmp_path)
        assert temporary.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"cannot write .*file/run: Not a directory; choose"):
        enter(tmp_path / "file" / "run")
