"""What workers of a test's GPU import: once this is preloaded, `torch` is a stand-in with a GPU in main memory.

It counts what is taken and reserved, keeps to its limit, and can break, so that everything around it is real.
"""

import os
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

TOTAL_BYTES = 1_000_000_000
Payload = dict[str, Any]


class OutOfMemoryError(RuntimeError):
    """As torch's."""


class _Gpu:
    def __init__(self) -> None:
        self.allocated = self.peak = 0
        self.limit = TOTAL_BYTES
        self.broken = False

    def take(self, size: int) -> None:
        self.peak = max(self.peak, min(self.allocated + size, self.limit))
        if self.allocated + size > self.limit:
            raise OutOfMemoryError("CUDA out of memory")
        self.allocated += size

    def set_per_process_memory_fraction(self, share: float, number: int) -> None:
        assert number == 0
        self.limit = round(share * TOTAL_BYTES)

    def synchronize(self) -> None:
        if self.broken:
            raise RuntimeError("CUDA error: device-side assert triggered")

    def reset_peak_memory_stats(self, number: int) -> None:
        assert number == 0
        self.peak = self.allocated


class _Matrix:
    def __getitem__(self, key: object) -> "_Matrix":
        return self


GPU = _Gpu()
RANDOM = SimpleNamespace(state=7)
"""Of the stand-in's generator."""


def _stand_in() -> Any:
    torch: Any = ModuleType("torch")
    torch.cuda = SimpleNamespace(
        is_available=lambda: bool(os.environ.get("CUDA_VISIBLE_DEVICES")), is_initialized=lambda: True,
        get_device_properties=lambda _: SimpleNamespace(total_memory=TOTAL_BYTES),
        set_per_process_memory_fraction=GPU.set_per_process_memory_fraction, synchronize=GPU.synchronize,
        empty_cache=lambda: None, reset_peak_memory_stats=GPU.reset_peak_memory_stats,
        memory_allocated=lambda _: GPU.allocated, max_memory_reserved=lambda _: GPU.peak,
    )  # fmt: skip
    torch.zeros = lambda *_, **__: _Matrix()
    torch.mm = lambda *_: None
    torch.nn = SimpleNamespace(functional=SimpleNamespace(conv2d=lambda *_: None))
    torch._C = SimpleNamespace()
    torch.set_num_threads = lambda _: None
    torch.initial_seed = lambda: 7
    torch.manual_seed = lambda seed: setattr(RANDOM, "state", seed)
    torch.get_rng_state = lambda: RANDOM.state
    torch.set_rng_state = lambda state: setattr(RANDOM, "state", state)
    return torch


sys.modules["torch"] = _stand_in()


def compute(payload: Payload) -> Payload:
    """Take memory of the GPU, and give it back unless asked to keep it; say what was found at the start."""
    found = {
        "pid": os.getpid(), "visible": os.environ["CUDA_VISIBLE_DEVICES"], "random": RANDOM.state, "limit": GPU.limit,
        "allocated": GPU.allocated,
    }  # fmt: skip
    RANDOM.state += 1
    size = payload.get("bytes", 0)
    GPU.take(size)
    if not payload.get("keeps"):
        GPU.allocated -= size
    return found


def fail(payload: Payload) -> Payload:
    """Raise an error of the task's own, with the GPU sound, or broken for good."""
    GPU.broken = payload["breaks"]
    raise ValueError("no such class")


def die_once(payload: Payload) -> Payload:
    """Be killed in the middle of the first attempt."""
    mark = Path(payload["mark"])
    GPU.take(100)
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), 9)
    GPU.allocated -= 100
    return {"pid": os.getpid()}
