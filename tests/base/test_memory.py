"""Memory of the machine by made-up files of Linux, and of processes by really touching pages."""

import mmap
import os
import subprocess
import sys

import pytest

from nestevo_hw.base.memory import MachineMemory, machine_memory, unshared_bytes

MB = 10**6
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def write(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def machine(root, groups):
    write(root, "proc/meminfo", "MemTotal:  8000 kB\nMemFree:  9 kB\nMemAvailable:  2000 kB\nHugePages_Total:   0\n")
    write(root, "proc/self/cgroup", groups)


def test_machine_without_a_limit(tmp_path):
    machine(tmp_path, "0::/user.slice\n")
    write(tmp_path, "sys/fs/cgroup/user.slice/memory.max", "max\n")
    assert machine_memory(tmp_path) == MachineMemory(total_bytes=8_192_000, available_bytes=2_048_000)
    assert machine_memory(tmp_path / "none") is None


@pytest.mark.parametrize("path", ["/", "/job", "/job/step"])
def test_limit_of_a_control_group_and_of_those_around_it(path, tmp_path):
    """By hand: 1 MB allowed, 0.9 taken, of which 0.2 + 0.1 are files that can be read again."""
    machine(tmp_path, f"1:name=systemd:/other\n0::{path}\n")
    limited = "sys/fs/cgroup" + ("" if path == "/" else "/job")
    write(tmp_path, f"{limited}/memory.max", "1000000\n")
    write(tmp_path, f"{limited}/memory.current", "900000\n")
    write(tmp_path, f"{limited}/memory.stat", "anon 600000\ninactive_file 200000\nactive_file 100000\n")
    assert machine_memory(tmp_path) == MachineMemory(total_bytes=1_000_000, available_bytes=400_000)


def test_limit_of_the_first_interface(tmp_path):
    """A container does not see the path that it is told; there its limit is at the top."""
    machine(tmp_path, "4:cpu,memory:/docker/abc\n0::/\n")
    folder = "sys/fs/cgroup/memory"
    write(tmp_path, f"{folder}/memory.limit_in_bytes", "1000000\n")
    write(tmp_path, f"{folder}/memory.usage_in_bytes", "900000\n")
    write(tmp_path, f"{folder}/memory.stat", "inactive_file 1\ntotal_inactive_file 50000\ntotal_active_file 0\n")
    assert machine_memory(tmp_path) == MachineMemory(total_bytes=1_000_000, available_bytes=150_000)


def test_limit_that_is_no_limit(tmp_path):
    """The first interface says "no limit" by a huge number."""
    machine(tmp_path, "4:memory:/\n")
    for name in ("limit_in_bytes", "usage_in_bytes"):
        write(tmp_path, f"sys/fs/cgroup/memory/memory.{name}", "9223372036854771712\n")
    write(tmp_path, "sys/fs/cgroup/memory/memory.stat", "total_inactive_file 0\ntotal_active_file 0\n")
    assert machine_memory(tmp_path).total_bytes == 8_192_000


def test_touched_pages_count_and_mapped_ones_do_not():
    before = unshared_bytes()
    with mmap.mmap(-1, 40 * MB) as block:
        assert unshared_bytes() - before < 4 * MB
        for _ in range(30):  # a piece of 30 MB would stay with the process, once it has freed one of that size
            block.write(b"x" * MB)
        assert unshared_bytes(os.getpid()) - before == pytest.approx(30 * MB, abs=4 * MB)
    assert unshared_bytes(2**22 + 1) is None  # above the largest number of a process


FORKS = f"""
import os
from nestevo_hw.base.memory import inherited_bytes

block, pages = bytearray(b"x" * {40 * MB}), b"y" * {20 * MB}
if (pid := os.fork()) == 0:
    before = inherited_bytes()
    block[: len(pages)] = pages
    print(before, inherited_bytes(), flush=True)
    os._exit(os.EX_OK)
os.waitpid(pid, 0)
"""


def test_forked_process_inherits_what_it_does_not_write_to():
    """In a process of its own, in which nothing else writes meanwhile."""
    done = subprocess.run([sys.executable, "-c", FORKS], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 60 * MB
    assert before - after == pytest.approx(20 * MB, abs=4 * MB)
