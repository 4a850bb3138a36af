"""What PyTorch's caching allocator reserves on a GPU for a sequence of allocations and releases.

The rules are those of c10/cuda/CUDACachingAllocator.cpp (`get_allocation_size`, `should_split`, `get_free_block`,
`try_merge_blocks`) and c10/core/AllocatorConfig.h of PyTorch 2.11 to 2.14 with their defaults: no limit on splitting,
no rounding to powers of two, no collection of garbage, no expandable segments, one stream.
"""

from bisect import bisect_left, insort
from dataclasses import dataclass, field

MIB = 1 << 20
BLOCK_BYTES = 512
"""Every allocation is a multiple of this."""
SMALL_BYTES = MIB
"""Up to here an allocation comes from the pool of small ones."""
SMALL_SEGMENT_BYTES, LARGE_SEGMENT_BYTES = 2 * MIB, 20 * MIB
OWN_SEGMENT_BYTES = 10 * MIB
"""From here on an allocation asks the driver for a segment of its own size."""
SEGMENT_ROUNDING_BYTES = 2 * MIB


def in_blocks(size: int) -> int:
    """Bytes that an allocation of `size` bytes takes."""
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def segment_bytes(size: int) -> int:
    """Bytes that are taken from the driver for an allocation that fits nowhere, itself of whole blocks."""
    if size <= SMALL_BYTES:
        return SMALL_SEGMENT_BYTES
    if size < OWN_SEGMENT_BYTES:
        return LARGE_SEGMENT_BYTES
    return -(-size // SEGMENT_ROUNDING_BYTES) * SEGMENT_ROUNDING_BYTES


@dataclass(frozen=True, slots=True)
class _Block:
    segment: int
    start: int
    size: int


@dataclass(slots=True)
class _Pool:
    free: list[tuple[int, int, int]] = field(default_factory=list)
    """(bytes, segment, start) of free blocks, sorted: the first that fits is the best fit, the lowest of equals."""
    starts: dict[tuple[int, int], int] = field(default_factory=dict)
    """Bytes of each free block by its segment and start."""
    ends: dict[tuple[int, int], int] = field(default_factory=dict)
    """The same by its segment and end."""

    def add(self, block: _Block) -> None:
        insort(self.free, (block.size, block.segment, block.start))
        self.starts[block.segment, block.start] = block.size
        self.ends[block.segment, block.start + block.size] = block.size

    def remove(self, block: _Block) -> None:
        del self.free[bisect_left(self.free, (block.size, block.segment, block.start))]
        del self.starts[block.segment, block.start], self.ends[block.segment, block.start + block.size]

    def best(self, size: int) -> _Block | None:
        """The smallest free block that holds `size` bytes."""
        place = bisect_left(self.free, (size, -1, -1))
        if place == len(self.free):
            return None
        room, segment, start = self.free[place]
        return _Block(segment, start, room)

    def merged(self, block: _Block) -> _Block:
        """A block joined with free neighbours of its segment, which are free blocks no more."""
        start, end = block.start, block.start + block.size
        if before := self.ends.get((block.segment, start)):
            self.remove(_Block(block.segment, start - before, before))
            start -= before
        if after := self.starts.get((block.segment, end)):
            self.remove(_Block(block.segment, end, after))
            end += after
        return _Block(block.segment, start, end - start)


class CachingAllocator:
    """Best fit, split, merge, never give back.

    Attributes:
        reserved_bytes: of all segments taken from the driver so far.
        allocated_bytes: of all that lives, in whole blocks.
        peak_bytes: most that `allocated_bytes` has been.
    """

    def __init__(self) -> None:
        self.reserved_bytes = self.allocated_bytes = self.peak_bytes = 0
        self._small, self._large = _Pool(), _Pool()
        self._used: dict[int, tuple[_Block, int]] = {}
        """Block of each living allocation, and its bytes in blocks."""
        self._segments = 0

    def allocate(self, key: int, size: int) -> None:
        """Find room for `size` bytes under a key that nothing living has."""
        if size <= 0:
            return
        size = in_blocks(size)
        pool = self._pool(size)
        found = pool.best(size)
        if found is None:
            found = _Block(self._segments, 0, segment_bytes(size))
            self._segments += 1
            self.reserved_bytes += found.size
        else:
            pool.remove(found)
        rest = found.size - size
        if rest >= (BLOCK_BYTES if pool is self._small else SMALL_BYTES + 1):
            pool.add(_Block(found.segment, found.start + size, rest))
            found = _Block(found.segment, found.start, size)
        self._used[key] = found, size
        self.allocated_bytes += found.size
        self.peak_bytes = max(self.peak_bytes, self.allocated_bytes)

    def free(self, key: int) -> None:
        """Let go of an allocation; nothing happens to one of no bytes."""
        if key not in self._used:
            return
        block, size = self._used.pop(key)
        self.allocated_bytes -= block.size
        pool = self._pool(size)
        pool.add(pool.merged(block))

    def _pool(self, size: int) -> _Pool:
        return self._small if size <= SMALL_BYTES else self._large
