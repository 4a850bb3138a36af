"""The allocator of GPUs by hand, and by what must hold for any sequence of allocations."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nestevo_hw.profiler.allocator import BLOCK_BYTES, MIB, CachingAllocator, reserved_bytes
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


def test_a_step_by_hand():
    """Weights of 12 MiB; each step makes 30 MiB and 2 MiB, lets the first go, and leaves the second as a gradient."""
    events = [(1, 30 * MIB), (2, 2 * MIB), (1, -30 * MIB)]
    assert reserved_bytes([12 * MIB], events) == (12 + 30 + 20) * MIB  # the second step finds room for both
    grown = [(1, 30 * MIB), (1, -30 * MIB), (3, 31 * MIB), (3, -31 * MIB)]
    assert reserved_bytes([], grown) == (30 + 32) * MIB  # what is too small for the next is not given back


def test_a_real_step_reserves_a_little_more_than_it_allocates():
    work = fake_step(
        lambda: [nn.Sequential(nn.Linear(1024, 4096), nn.Linear(4096, 16))],
        lambda m: m[0](torch.ones(64, 1024)).sum(),
    )
    assert work.peak_bytes <= work.reserved_bytes < 1.6 * work.peak_bytes
    assert work.reserved_bytes % (2 * MIB) == 0
