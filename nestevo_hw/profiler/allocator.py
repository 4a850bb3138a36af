"""From the births and deaths of tensors to what PyTorch's caching allocator reserves on a GPU."""

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field

MIB = 1 << 20
BLOCK_BYTES = 512
"""Every allocation on a GPU is a multiple of this (PyTorch's caching allocator, c10/cuda/CUDACachingAllocator)."""
SMALL_BYTES = MIB
"""Up to here an allocation comes from the pool of small ones."""
SMALL_SEGMENT_BYTES, LARGE_SEGMENT_BYTES = 2 * MIB, 20 * MIB
OWN_SEGMENT_BYTES = 10 * MIB
"""From here on an allocation asks the driver for a segment of its own size."""
SEGMENT_ROUNDING_BYTES = 2 * MIB


def reserved_bytes(held: Sequence[int], events: Sequence[tuple[int, int]]) -> int:
    """What the allocator has taken from the driver after two training steps.

    Args:
        held: bytes of each tensor that lives between steps.
        events: (key, bytes) of each allocation in a step, and (key, -bytes) of its release, in order.
    """
    allocator = CachingAllocator()
    for number, size in enumerate(held):
        allocator.allocate(-1 - number, size)
    for _ in range(2):  # what the first step leaves behind is in the way of the second
        alive: set[int] = set()
        for key, size in events:
            if size > 0:
                allocator.allocate(key, size)
                alive.add(key)
            elif key in alive:
                allocator.free(key)
                alive.remove(key)
        for key in alive:  # gradients, which the next step begins with letting go of
            allocator.free(key)
    return allocator.reserved_bytes


@dataclass(slots=True)
class _Block:
    segment: int
    start: int
    size: int


@dataclass(slots=True)
class _Pool:
    free: list[tuple[int, int, int]] = field(default_factory=list)
    """(bytes, segment, start) of free blocks, sorted: the first that fits is the best fit."""


class CachingAllocator:
    """PyTorch's allocator for GPUs as far as it decides how much is reserved: best fit, split, merge, never give back.

    Attributes:
        reserved_bytes: of all segments taken from the driver so far.
    """

    def __init__(self) -> None:
        self.reserved_bytes = 0
        self._pools = {True: _Pool(), False: _Pool()}
        self._used: dict[int, tuple[bool, _Block]] = {}
        self._segments = 0

    def allocate(self, key: int, size: int) -> None:
        """Find room for a tensor of `size` bytes."""
        if size <= 0:
            return
        size = -(-size // BLOCK_BYTES) * BLOCK_BYTES
        small = size <= SMALL_BYTES
        pool = self._pools[small].free
        place = bisect_left(pool, (size, -1, -1))
        if place < len(pool):
            room, segment, start = pool.pop(place)
        else:
            room, segment, start = _segment_bytes(size), self._segments, 0
            self._segments += 1
            self.reserved_bytes += room
        rest = room - size
        if rest >= (BLOCK_BYTES if small else SMALL_BYTES + 1):
            insort(pool, (rest, segment, start + size))
            room = size
        self._used[key] = (small, _Block(segment, start, room))

    def free(self, key: int) -> None:
        """Let go of a tensor; its block joins free neighbours of the same segment."""
        if key not in self._used:
            return
        small, block = self._used.pop(key)
        pool = self._pools[small].free
        start, end = block.start, block.start + block.size
        for entry in [e for e in pool if e[1] == block.segment and (e[2] + e[0] == start or e[2] == end)]:
            pool.remove(entry)
            start, end = min(start, entry[2]), max(end, entry[2] + entry[0])
        insort(pool, (end - start, block.segment, start))


def _segment_bytes(size: int) -> int:
    if size <= SMALL_BYTES:
        return SMALL_SEGMENT_BYTES
    if size < OWN_SEGMENT_BYTES:
        return LARGE_SEGMENT_BYTES
    return -(-size // SEGMENT_ROUNDING_BYTES) * SEGMENT_ROUNDING_BYTES
