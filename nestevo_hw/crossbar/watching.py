"""What the layers of a model are given, and what they make of it."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import MappingError

Look = Callable[[str, Tensor, Tensor], None]
"""Told the name, the input and the output of every call of a layer."""


@torch.no_grad()
def watch(
    model: nn.Module, layers: Mapping[str, nn.Module], batches: Iterable[Any], look: Look, *, purpose: str
) -> None:
    """Run a model over all batches and look at every call of some of its layers.

    Args:
        model: in eval mode.
        layers: layers of `model` by name.
        batches: each is given to `model` as its only argument.
        look: what is done at every call.
        purpose: what the batches are for, for the message.

    Raises:
        MappingError: there was no batch.
    """
    count = 0
    with ExitStack() as stack:
        for name, layer in layers.items():

            def tell(_layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
                look(name, inputs[0], output)

            stack.callback(layer.register_forward_hook(tell).remove)
        for batch in batches:
            model(batch)
            count += 1
    if count == 0:
        raise MappingError(f"{purpose} got no batch; give it a few in-domain frames")
