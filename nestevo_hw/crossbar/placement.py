"""Which layers the crossbar can hold, and why the others stay digital."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrize import is_parametrized

from nestevo_hw.base.errors import MappingError


def inside_attention(aliases: Sequence[str], model: nn.Module) -> str:
    """Why a layer with these names stays digital if it belongs to an attention block; empty if not."""
    for alias in aliases:
        parts = alias.split(".")
        parents = (model.get_submodule(".".join(parts[:i])) for i in range(len(parts)))
        if any(isinstance(parent, nn.MultiheadAttention) for parent in parents):
            return "part of nn.MultiheadAttention, which reads its weights without calling its layers"
    return ""


def unmappable(module: nn.Module) -> str:
    """Why a module with weights has to stay digital; empty if it can go onto the crossbar."""
    if type(module) not in (nn.Conv2d, nn.Linear):
        return _wrong_kind(module)
    if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
        return "carries hooks, which its analog replacement would drop"
    extra = set(dict(module.named_parameters(recurse=False))) - {"weight", "bias"}
    if extra or is_parametrized(module):
        return "its weight is computed from other parameters"
    if isinstance(module, nn.Conv2d):
        return _convolution_problem(module)
    return ""


def _wrong_kind(module: nn.Module) -> str:
    if isinstance(module, _ConvTransposeNd):
        return "transposed convolutions are not supported by the analog tiles"
    if isinstance(module, nn.MultiheadAttention):
        return "attention computes with its weights directly, not through a layer"
    if is_parametrized(module):
        return "its weight is computed from other parameters"
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        return f"{type(module).__name__} is a subclass that may compute something else than its parent"
    if isinstance(module, _ConvNd):
        return "only 2-d convolutions are supported by the torch tile"
    return f"{type(module).__name__} is not a convolution or a linear layer"


def _convolution_problem(conv: nn.Conv2d) -> str:
    if conv.groups != 1:  # and one group to a tile would leave nearly all of its cells empty
        return f"grouped convolution ({conv.groups} groups)"
    if conv.padding_mode != "zeros":
        return f"padding mode {conv.padding_mode!r}; the analog tiles pad with zeros only"
    if explicit_padding(conv) is None:
        return "padding='same' is uneven for this kernel"
    return ""


def explicit_padding(conv: nn.Conv2d) -> tuple[int, int] | None:
    """Padding in pixels (height, width), also for 'same' and 'valid'; None if it differs between sides."""
    if conv.padding == "valid":
        return 0, 0
    if conv.padding == "same":
        total = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
        return None if any(t % 2 for t in total) else (total[0] // 2, total[1] // 2)
    return int(conv.padding[0]), int(conv.padding[1])


def pair(values: tuple[int, ...]) -> tuple[int, int]:
    """(height, width) of a 2-d convolution's setting."""
    height, width = values
    return height, width


def check_weights(name: str, weight: torch.Tensor) -> None:
    """Refuse weights that no conductance can hold.

    Raises:
        MappingError: not float32, or NaN or infinite values.
    """
    if weight.is_meta:
        raise MappingError(f"{name} has no values (meta device); load weights before mapping")
    if weight.dtype != torch.float32:
        raise MappingError(f"{name} holds {weight.dtype}, the tiles need float32; call model.float() first")
    if not bool(torch.isfinite(weight).all()):
        raise MappingError(f"{name} holds NaN or infinite weights; train or load the model again")
