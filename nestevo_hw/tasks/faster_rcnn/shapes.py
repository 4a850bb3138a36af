"""Whether shapes may depend on values: on a GPU each one that does makes the host wait for all it has queued there.

Three parts of Faster R-CNN's training exist twice for that: the draw of samples, the suppression of overlapping
proposals and the pooling of regions. On a CPU they are torchvision's own, image by image, with its random draws.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

_EVERYWHERE = ContextVar("everywhere", default=False)


def fixed(tensor: Tensor) -> bool:
    """Whether what is computed from a tensor should have shapes that follow from shapes alone."""
    return _EVERYWHERE.get() or tensor.device.type != "cpu"


@contextmanager
def fixed_shapes() -> Iterator[None]:
    """On the CPU, too, compute as on a GPU until the block ends."""
    token = _EVERYWHERE.set(True)
    try:
        yield
    finally:
        _EVERYWHERE.reset(token)
