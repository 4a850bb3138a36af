"""Files are written whole or not at all, and what prevents it is said in one line."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from nestevo_hw.base.errors import ConfigError, InputError, OutputError
from nestevo_hw.base.files import read_text, replacing, write_text
from nestevo_hw.pages.style import LIGHT, new_figure, save_png


def _write(path: Path, failure: Exception) -> None:
    with replacing(path) as temporary:
        temporary.write_text("half")
        raise failure


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    write_text(path, "old")
    with pytest.raises(KeyError):
        _write(path, KeyError())
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_threads_that_write_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    def write(letter: str) -> None:
        for _ in range(150):
            write_text(tmp_path / "known.json", 2000 * letter)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, "abcd"))  # raises what a thread raised
    assert set(read_text(tmp_path / "known.json")) in [{letter} for letter in "abcd"]
    assert list(tmp_path.iterdir()) == [tmp_path / "known.json"]


def test_what_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match=r"cannot write .*folder: Is a directory; choose"):
        write_text(tmp_path / "folder", "x")
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"cannot write .*file/below"):
        write_text(tmp_path / "file" / "below", "x")


def _fill(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.symlink_to("/dev/full")
        temporary.write_text("x" * 100)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"big: No space left on device; free space"):
        _fill(tmp_path / "big")
    with pytest.raises(OutputError, match="no space"):
        _write(tmp_path / "tensors", SafetensorError("no space"))
    assert list(tmp_path.iterdir()) == []


def test_pictures_are_png(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"give .*x\.png instead of .*x\.gif"):
        save_png(new_figure(1.0, 1.0, LIGHT), tmp_path / "x.gif")


def test_others_may_read_what_safetensors_wrote(tmp_path: Path) -> None:
    with replacing(tmp_path / "model.safetensors") as temporary:
        save_file({"x": torch.zeros(1)}, temporary)
    write_text(tmp_path / "plain.txt", "x")
    assert (tmp_path / "model.safetensors").stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


KILLED = """
import os, signal, sys
from pathlib import Path
from nestevo_hw.base.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_writer_left_goes_with_the_next_one(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "page.html")], check=False)
    with replacing(tmp_path / "mine") as temporary:
        alive = temporary.name  # of this very process
        assert alive.endswith(f".{os.getpid()}.tmp")
        names = {path.name for path in tmp_path.iterdir()}
        assert names == set()
        temporary.write_text("x")
    (tmp_path / ".theirs.tmp").write_text("not ours")
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "below" / "page.html")], check=False)
    write_text(tmp_path / "below" / "page.html", "whole")
    assert {path.name for path in tmp_path.rglob("*")} == {"mine", ".theirs.tmp", "below", "page.html"}


def test_a_pipe_or_device_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(InputError, match=f"{path} is a pipe or device, not a file"):
            read_text(path)


def test_folders_made_in_vain_go_again(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), replacing(tmp_path / "new" / "deep" / "file"):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old").mkdir()
    with pytest.raises(RuntimeError), replacing(tmp_path / "old" / "file"):
        raise RuntimeError
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
