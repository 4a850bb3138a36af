"""The compute device: what models, and the crossbar that is simulated for them, compute on in every command."""

import re
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Literal

from nestevo_hw.base.errors import ConfigError

if TYPE_CHECKING:  # commands read their options before anything loads torch
    import torch

Precision = Literal["float32", "bfloat16"]
"""What products are computed in; parameters, gradients and losses are float32 either way."""
AUTO = "auto"
"""The first GPU, or the CPU where there is none."""
NAMES = (AUTO, "cpu", "cuda")
LISTED = "auto, cpu, cuda or cuda:N"
_NUMBERED = re.compile(r"cuda:(0|[1-9]\d{0,3})")


def is_compute_device(name: str) -> bool:
    """Whether a name is one of a compute device, be it there or not."""
    return name in NAMES or _NUMBERED.fullmatch(name) is not None


def resolved(wanted: str) -> "torch.device":
    """The device that a name stands for here; whether it is there is not asked."""
    import torch

    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if wanted == AUTO else wanted)


def device_of_worker(wanted: str) -> "torch.device":
    """The same in a worker process, which sees no GPU but the one that it is to use."""
    import torch

    return torch.device(resolved(wanted).type)


def computing_in(precision: Precision, device: "torch.device") -> AbstractContextManager[None]:
    """Autocast of what runs in a block: products of convolutions and linear layers in bfloat16, or all as it is."""
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def compute_device(wanted: str, *, asked: str = "--device") -> "torch.device":
    """The device that a name stands for here.

    Args:
        wanted: auto, cpu, cuda or cuda:N.
        asked: option or key that it is from, for the message.

    Raises:
        ConfigError: no such name, or a GPU that is not there.
    """
    import torch

    if not is_compute_device(wanted):
        raise ConfigError(f"{asked}: need {LISTED}, got {wanted!r}")
    device = resolved(wanted)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise ConfigError(f"{asked} {wanted}: torch finds no GPU here; use cpu, or auto for the first one there is")
        if (device.index or 0) >= count:
            raise ConfigError(f"{asked} {wanted}: torch finds {count} here, cuda:0 to cuda:{count - 1}; name one")
    return device


def device_name(device: "torch.device") -> str:
    """A device for people to read: "cpu", or a GPU's name, with its number where there are several."""
    import torch

    if device.type != "cuda":
        return str(device)
    name = torch.cuda.get_device_name(device)
    return f"{name} ({device})" if torch.cuda.device_count() > 1 else name
