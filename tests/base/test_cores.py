"""Cores that this process may use, by made-up files of Linux and by its own CPU set."""

import os
import sys

import pytest

from nestevo_hw.base.cores import usable_cores

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="control groups and CPU sets are Linux's")


@pytest.fixture(autouse=True)
def bound_to_eight(monkeypatch):
    """On a machine of 64."""
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))


def write(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_without_a_quota_they_are_those_that_the_process_is_bound_to(tmp_path):
    assert usable_cores(tmp_path) == 8
    write(tmp_path, "proc/self/cgroup", "0::/job\n")
    write(tmp_path, "sys/fs/cgroup/job/cpu.max", "max 100000\n")
    assert usable_cores(tmp_path) == 8


@pytest.mark.parametrize(("quota", "cores"), [(200_000, 2), (150_000, 2), (20_000, 1), (6_400_000, 8)])
def test_quota_of_a_container(quota, cores, tmp_path):
    write(tmp_path, "proc/self/cgroup", "0::/job/step\n")
    write(tmp_path, "sys/fs/cgroup/job/step/cpu.max", "max 100000\n")
    write(tmp_path, "sys/fs/cgroup/job/cpu.max", f"{quota} 100000\n")
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [(300_000, 3), (-1, 8)])
def test_quota_by_the_first_interface(quota, cores, tmp_path):
    write(tmp_path, "proc/self/cgroup", "3:cpu,cpuacct:/job\n")
    write(tmp_path, "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", f"{quota}\n")
    write(tmp_path, "sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n")
    assert usable_cores(tmp_path) == cores
