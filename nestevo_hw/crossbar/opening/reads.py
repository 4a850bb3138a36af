"""Layers whose weight another module reads, to multiply with it itself."""

import copy
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode, resolve_name
from torch.utils._pytree import tree_leaves

from nestevo_hw.base.plugins import FAULTS
from nestevo_hw.crossbar.opening.module import OpenModule, linear
from nestevo_hw.crossbar.placement import READ_BY, unmappable
from nestevo_hw.crossbar.valueless import ValuelessWeight


class ReadLinear(OpenModule):
    """A linear layer whose weight may be read: who multiplies with it calls the layer."""

    renamed: Mapping[str, str] = {"weight": "product.weight", "bias": "product.bias"}

    def __init__(self, module: nn.Linear) -> None:
        super().__init__(module)
        self.in_features, self.out_features = module.in_features, module.out_features
        self.product: Any = linear(module.weight, module.bias)
        self.register_buffer("_like", module.weight.new_empty(0), persistent=False)

    def forward(self, input: Tensor) -> Tensor:
        """As nn.Linear's."""
        y: Tensor = self.product(input)
        return y

    @property
    def weight(self) -> Tensor:
        """Knows its shape and multiplies, by `F.linear` only; it has no values."""
        shape = (self.out_features, self.in_features)
        return ValuelessWeight.of("a layer that is read", shape, self.get_buffer("_like"), self.with_bias)

    @property
    def bias(self) -> Tensor | None:
        """The layer's own."""
        bias: Tensor | None = self.product.bias
        return bias

    def with_bias(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """The product with another bias."""
        own: Tensor | None = self.product.bias
        y: Tensor = self(x)
        if bias is own:
            return y
        if own is not None:
            y = y - own
        return y if bias is None else y + bias


_LINEAR = "torch.nn.functional.linear"


def weight_reads(model: nn.Module, example: Any) -> dict[nn.Module, set[str]]:  # noqa: ANN401 - whatever the model takes
    """What uses the weights of layers, other than the layers themselves, in one forward pass.

    Args:
        model: in eval mode; left as it was.
        example: its only argument.

    Returns:
        By layer that the crossbar could hold: names of functions. Empty if the model does not take the example,
        which it will say itself when it is run.
    """
    layers: list[Any] = [module for module in model.modules() if not unmappable(module, grouped=True)]
    watch = _Watch(layers)
    for layer in layers:
        # Not by hooks: torch's fused attention steps back from modules that have some.
        layer.forward = functools.partial(watch.run, layer, layer.forward)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), watch:
            model(example)
    except FAULTS:
        return {}
    finally:
        for layer in layers:
            del layer.forward
    return watch.uses


class _Watch(TorchFunctionMode):
    """Notes by what the weights of layers are used while none of their layers runs."""

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__()
        self._owners: dict[int, list[nn.Module]] = {}
        for layer in layers:
            self._owners.setdefault(id(layer.weight), []).append(layer)
        self._running: list[nn.Module] = []
        self.uses: dict[nn.Module, set[str]] = {}

    def run(self, layer: nn.Module, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        """A layer's own forward."""
        self._running.append(layer)
        try:
            return forward(*args, **kwargs)
        finally:
            self._running.pop()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[Any],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 - whatever the torch function returns
        """Note, and go on."""
        if getattr(func, "__name__", "") != "__get__":  # shape, dtype and the like are no use of the values
            for value in tree_leaves((args, kwargs)):
                owners = self._owners.get(id(value), [])
                if owners and not any(owner in self._running for owner in owners):
                    for owner in owners:
                        self.uses.setdefault(owner, set()).add(resolve_name(func) or str(func))
        return func(*args, **(kwargs or {}))


def opened_reads(layer: nn.Module, uses: set[str]) -> nn.Module:
    """What stands for a layer whose weight is used outside: a layer that is called, or one that stays digital."""
    if type(layer) is nn.Linear and uses == {_LINEAR}:
        return ReadLinear(layer)
    kept = copy.deepcopy(layer)
    setattr(kept, READ_BY, ", ".join(sorted(uses)))
    return kept
