"""Models of the studies on the compute device; what they are given travels there batch by batch."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def on_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a model, and have it take its inputs from wherever they lie; copies of it do, too.

    So frames may stay in main memory, whatever their number: of them a GPU holds what one call takes.

    Args:
        model: changed in place.
        device: where it is to compute.

    Returns:
        The model; one that is a single layer within another module, as a layer that does something else when it is
        called is kept off the crossbar.
    """
    model.to(device)
    if device.type != "cpu":
        model = model if any(True for _ in model.children()) else nn.Sequential(model)
        model.register_forward_pre_hook(partial(_fetch, device), prepend=True, with_kwargs=True)
    return model


def moved(value: Any, device: torch.device) -> Any:  # noqa: ANN401 - what a model takes
    """A batch with its tensors on a device; lists, tuples and mappings keep their type."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return type(value)((key, moved(entry, device)) for key, entry in value.items())  # type: ignore[call-arg]
    if isinstance(value, list | tuple):
        entries = [moved(entry, device) for entry in value]
        return type(value)(*entries) if hasattr(value, "_fields") else type(value)(entries)
    return value


def _fetch(
    device: torch.device, _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """A hook before a module's call."""
    return moved(args, device), moved(kwargs, device)
