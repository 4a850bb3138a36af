"""The allocator of GPUs by hand, and by what must hold for any sequence of allocations."""

from hypothesis import given
from hypothesis import strategies as st

from nestevo_hw.profiler.allocator import BLOCK_BYTES, MIB, CachingAllocator


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
    assert reserved(10 * MIB - 512) == 20 * MIB
    assert reserved(10 * MIB) == 10 * MIB  # a limit that is not itself middling
    assert reserved(0) == 0


def test_the_pools_do_not_share():
    """What is free of a large segment holds no small allocation."""
    assert reserved(9 * MIB, 1) == 22 * MIB


def test_rests_that_are_split_off_and_rests_that_are_not():
    allocator = CachingAllocator()
    allocator.allocate(0, 12 * MIB)
    allocator.free(0)
    allocator.allocate(1, 11 * MIB)  # the rest of 1 MiB is no more than a small allocation: it stays with the block
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (12 * MIB, 12 * MIB)
    allocator.free(1)
    allocator.allocate(2, 11 * MIB - BLOCK_BYTES)  # the rest is larger than that: it is a block of its own
    assert allocator.allocated_bytes == 11 * MIB - BLOCK_BYTES
    allocator.allocate(3, MIB + BLOCK_BYTES)
    assert (allocator.allocated_bytes, allocator.reserved_bytes) == (12 * MIB, 12 * MIB)


def test_small_rests_are_split_off_from_one_block_on():
    allocator = CachingAllocator()
    for key in range(4):  # of 512 KiB and a byte, thus 1025 blocks of the segment's 4096
        allocator.allocate(key, 512 * 1024 + 1)
    assert allocator.reserved_bytes == 4 * MIB  # three in the first, 1021 blocks are left
    allocator.allocate(4, 1021 * BLOCK_BYTES)
    assert allocator.reserved_bytes == 4 * MIB


def test_blocks_of_different_segments_do_not_join():
    allocator = CachingAllocator()
    for key in range(2):
        allocator.allocate(key, 20 * MIB)
    for key in range(2):
        allocator.free(key)
    allocator.allocate(2, 21 * MIB)
    assert allocator.reserved_bytes == (20 + 20 + 22) * MIB


def test_a_state_that_settles_in_the_room_of_activations_makes_the_next_step_take_more():
    """How a first step differs from a second one: 30 MiB free, of which 2 MiB are taken for good."""
    allocator = CachingAllocator()
    allocator.allocate(0, 30 * MIB)
    allocator.free(0)
    allocator.allocate(1, 2 * MIB)
    allocator.allocate(0, 30 * MIB)
    assert allocator.reserved_bytes == 60 * MIB
    assert allocator.peak_bytes == 32 * MIB


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
