"""From live tensors to what a device must set aside: rounding, caching, context and workspace of the libraries."""

from bisect import bisect_left, insort
from dataclasses import dataclass, field
from typing import Literal

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.profiler.fake_run import StepWork

MIB = 1 << 20
BLOCK_BYTES = 512
"""Every allocation on a GPU is a multiple of this (PyTorch's caching allocator, c10/cuda/CUDACachingAllocator)."""
SMALL_BYTES = MIB
"""Up to here an allocation comes from the pool of small ones."""
SMALL_SEGMENT_BYTES, LARGE_SEGMENT_BYTES = 2 * MIB, 20 * MIB
OWN_SEGMENT_BYTES = 10 * MIB
"""From here on an allocation asks the driver for a segment of its own size."""
SEGMENT_ROUNDING_BYTES = 2 * MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetDevice:
    """A device a task may run on, which need not be present."""

    name: str
    kind: Literal["cpu", "cuda"]
    context_bytes: int
    """Taken before the first tensor: driver context and loaded kernels on a GPU. Modelled."""
    workspace_bytes: int
    """Kept by the libraries for themselves once they have run: cuBLAS. Modelled."""


DEVICES = {
    device.name: device
    for device in (
        TargetDevice(name="cpu", kind="cpu", context_bytes=0, workspace_bytes=0),
        # cuBLAS keeps :4096:2:16:8 by default, that is 2 x 4096 + 8 x 16 KiB, and 32 MiB from Hopper on (PyTorch's
        # CUDABlas, NVIDIA's cuBLAS guide). Contexts differ by driver; these are the order of what drivers show.
        TargetDevice(name="cuda", kind="cuda", context_bytes=450_000_000, workspace_bytes=8320 * 1024),
        TargetDevice(name="cuda-hopper", kind="cuda", context_bytes=550_000_000, workspace_bytes=32 * MIB),
    )
}


def target_device(name: str) -> TargetDevice:
    """A device by name.

    Raises:
        ConfigError: no such device.
    """
    if name not in DEVICES:
        raise ConfigError(f"unknown target device {name!r}; choose from {', '.join(DEVICES)}")
    return DEVICES[name]


def needed_bytes(work: StepWork, device: TargetDevice) -> int:
    """What a task needs on a device: on a CPU the peak of its tensors, on a GPU all that the allocator reserves.

    Args:
        work: a fake run of this process; one that was read from a file has no events, and its peak is rounded up to
            whole segments instead.
        device: where the task would run.
    """
    if device.kind == "cpu":
        return work.peak_bytes + device.context_bytes + device.workspace_bytes
    if work.events:
        reserved = _replayed(work)
    else:
        reserved = -(-work.peak_bytes // SEGMENT_ROUNDING_BYTES) * SEGMENT_ROUNDING_BYTES
    return reserved + device.context_bytes + device.workspace_bytes


def _replayed(work: StepWork) -> int:
    allocator = CachingAllocator()
    for number, size in enumerate(work.held_sizes):
        allocator.allocate(-1 - number, size)
    for _ in range(2):  # what the first step leaves behind is in the way of the second
        alive: set[int] = set()
        for key, size in work.events:
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
