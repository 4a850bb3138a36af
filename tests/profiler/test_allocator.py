"""The allocator of GPUs by hand, and by what must hold for any sequence of allocations."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.profiler.allocator import BLOCK_BYTES, MIB, CachingAllocator, needed_bytes, target_device
from nestevo_hw.profiler.fake_run import fake_step


def reserved(*sizes):
    allocator = CachingAllocator()
    for key, size in enumerate(sizes):
        allocator.allocate(key, size)
    return allocator.reserved_bytes


def test_segments_by_hand():
    assert reserved(1) == 2 * MIB  # small ones share segments of 2 MiB
    assert reserved(MIB, MIB) == 2 * MIB
    assert reserved(MIB, MIB, 1) == 4 * MIB
    assert reserved(MIB + 1) == 20 * MIB  # middling ones segments of 20 MiB
    assert reserved(9 * MIB, 9 * MIB) == 20 * MIB
    assert reserved(9 * MIB, 9 * MIB, 9 * MIB) == 40 * MIB
    assert reserved(10 * MIB + 1) == 12 * MIB  # large ones their own, of a multiple of 2 MiB
    assert reserved(0) == 0


def test_freed_room_is_used_again_and_grows_together():
    allocator = CachingAllocator()
    for key in range(2):
        allocator.allocate(key, 8 * MIB)
    allocator.free(0)
    allocator.free(1)
    allocator.allocate(2, 20 * MIB)  # the two halves and the rest are one again
    assert allocator.reserved_bytes == 20 * MIB


def test_the_tightest_room_is_taken():
    allocator = CachingAllocator()
    allocator.allocate(0, 40 * MIB)
    allocator.allocate(1, 12 * MIB)
    allocator.free(0)
    allocator.free(1)
    allocator.allocate(2, 12 * MIB)
    allocator.allocate(3, 40 * MIB)
    assert allocator.reserved_bytes == 52 * MIB


@given(st.lists(st.tuples(st.integers(1, 30 * MIB), st.booleans()), max_size=60))
def test_reserves_at_least_what_lives_and_never_more_than_without_reuse(steps):
    allocator, alive, live, peak, without_reuse = CachingAllocator(), [], 0, 0, 0
    for key, (size, free_one) in enumerate(steps):
        if free_one and alive:
            freed, bytes_freed = alive.pop(0)
            allocator.free(freed)
            live -= bytes_freed
        allocator.allocate(key, size)
        rounded = -(-size // BLOCK_BYTES) * BLOCK_BYTES
        alive.append((key, rounded))
        live += rounded
        peak = max(peak, live)
        without_reuse += reserved(size)
    assert peak <= allocator.reserved_bytes <= without_reuse


def test_needs_of_a_task_by_device():
    work = fake_step(
        lambda: [nn.Sequential(nn.Linear(1024, 4096), nn.Linear(4096, 16))],
        lambda m: m[0](torch.ones(64, 1024)).sum(),
    )
    gpu = target_device("cuda")
    assert needed_bytes(work, target_device("cpu")) == work.peak_bytes
    reserved_bytes = needed_bytes(work, gpu) - gpu.context_bytes - gpu.workspace_bytes
    assert work.peak_bytes <= reserved_bytes < 1.6 * work.peak_bytes
    assert reserved_bytes % (2 * MIB) == 0
    from_file = replace(work, events=(), held_sizes=())
    assert work.peak_bytes <= needed_bytes(from_file, gpu) - gpu.context_bytes - gpu.workspace_bytes
    with pytest.raises(ConfigError, match="unknown target device 'tpu'; choose from cpu, cuda"):
        target_device("tpu")
