"""Tensors on their way between the host and a GPU, for which nobody waits."""

from collections.abc import Callable

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host on a device; the host goes on while it travels to a GPU.

    Args:
        tensor: on the host; it may change or go once this has returned.
        device: where to.
    """
    if device.type == "cuda" and tensor.device.type == "cpu" and torch.cuda.is_available():
        tensor = tensor.pin_memory()  # the copy; torch keeps it until it has been read
    return tensor.to(device, non_blocking=True)


def read_later(number: Tensor) -> Callable[[], float]:
    """A function that gives the value of a tensor of one element, and waits only for what made it."""
    there = number.detach().to("cpu", non_blocking=True)
    if number.device.type != "cuda":
        return lambda: float(there)
    landed = torch.cuda.Event()
    landed.record(torch.cuda.current_stream(number.device))

    def read() -> float:
        landed.synchronize()
        return float(there)

    return read


def as_scalar(number: float | Tensor, device: torch.device) -> Tensor:
    """A number as a tensor of no dimensions on a device; a tensor as it is.

    A kernel writes it there: to copy it would have the host wait for all that is under way.
    """
    return number if isinstance(number, Tensor) else torch.full((), number, device=device)
