"""Modules that compute with their weights directly, opened into layers that can go onto the crossbar.

torch's attention and recurrent modules keep matrices that no layer owns. Opened, every product with a matrix is the
call of a linear layer, so that all that is done to layers (tiles, input ranges, costs) is done to them too. The values
are the same up to rounding; weights keep their shapes and change their names only.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nestevo_hw.crossbar.opening.attention import OpenAttention
from nestevo_hw.crossbar.opening.module import OpenModule, evaluating
from nestevo_hw.crossbar.opening.reads import opened_reads, weight_reads
from nestevo_hw.crossbar.opening.recurrent import OpenCell, OpenRecurrent
from nestevo_hw.crossbar.placement import carries_hooks, is_unbuilt

_OPENED: dict[type[nn.Module], Callable[[Any], OpenModule]] = {
    nn.MultiheadAttention: OpenAttention,
    nn.LSTM: OpenRecurrent,
    nn.GRU: OpenRecurrent,
    nn.RNN: OpenRecurrent,
    nn.LSTMCell: OpenCell,
    nn.GRUCell: OpenCell,
    nn.RNNCell: OpenCell,
}
"""Exactly these classes: a subclass may compute something else."""


def opened(model: nn.Module, example: Any = None) -> nn.Module:  # noqa: ANN401 - whatever the model takes
    """The model with every product of a matrix in a layer of its own.

    Args:
        model: not changed.
        example: what `model` takes as its only argument. With it, lazy layers are built, and layers are found whose
            weight another module reads to multiply with, such as those of torchvision's Swin; else such a model
            fails when it runs.

    Returns:
        `model` itself if there is nothing to open, else a copy.
    """
    if example is not None:
        model = _built(model, example)
    model = _replaced(model, _opened_module)
    if example is None:
        return model
    with evaluating(model):
        uses = weight_reads(model, example)
    return _replaced(model, lambda module: opened_reads(module, uses[module]) if module in uses else None)


def _opened_module(module: nn.Module) -> OpenModule | None:
    way = _OPENED.get(type(module))
    return None if way is None or carries_hooks(module) else way(module)


def _built(model: nn.Module, example: Any) -> nn.Module:  # noqa: ANN401
    """A copy with lazy layers built by the example; the model itself if it has none."""
    if not any(is_unbuilt(module) for module in model.modules()):
        return model
    copied = copy.deepcopy(model)
    with torch.no_grad(), torch.random.fork_rng(devices=[]), evaluating(copied):
        torch.manual_seed(0)
        copied(example)
    return copied


def opened_state(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict with the names of an opened model.

    Args:
        model: opened.
        state: of the model as it was before or after it was opened.
    """
    names = _renamed(model)
    return {names.get(key, key): value for key, value in state.items()}


def closed_state(model: nn.Module, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The other way round: the state dict of an opened model with the names of the model as it was before."""
    names = {new: old for old, new in _renamed(model).items()}
    return {names.get(key, key): value for key, value in state.items()}


def _renamed(model: nn.Module) -> dict[str, str]:
    """Names in the state dict before a model was opened, to those now."""
    names: dict[str, str] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, OpenModule):
            prefix = f"{path}." if path else ""
            names |= {prefix + old: prefix + new for old, new in module.renamed.items()}
    return names


def _replaced(model: nn.Module, replacement: Callable[[nn.Module], nn.Module | None]) -> nn.Module:
    """A copy of the model with other modules at every place that refers to them; the model itself if there are none."""
    found = {module: new for module in model.modules() if (new := replacement(module)) is not None}
    if not found:
        return model
    # deepcopy puts what its memo holds in place of each module, at every place that refers to it.
    memo: dict[int, Any] = {id(module): new for module, new in found.items()}
    copied: nn.Module = copy.deepcopy(model, memo)
    for module in copied.modules():
        if isinstance(module, nn.TransformerEncoder):
            module.use_nested_tensor = False  # torch's fused path reads the weights of its layers
    return copied
