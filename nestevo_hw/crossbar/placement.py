"""Which layers the crossbar can hold, and why the others stay digital."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils.parametrize import ParametrizationList, is_parametrized

from nestevo_hw.base.errors import MappingError

_KINDS = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
_COMPUTES = frozenset(
    ("forward", "_conv_forward", "_output_padding", "weight", "bias", "__call__", "__getattr__", "__getattribute__")
)
"""What decides the result of a layer; a subclass that leaves all of it alone computes what torch's own does."""
_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)
READ_BY = "weight_read_by"
"""Attribute of a layer whose weight is known to be used outside of it: by what functions."""
_QUANTISED = ("torch.ao.nn.quantized", "torch.nn.quantized", "torch.ao.nn.sparse.quantized")


def weighted_modules(model: nn.Module) -> Iterator[tuple[nn.Module, tuple[str, ...]]]:
    """Every module that owns a matrix of weights, with all its names."""
    found: dict[int, tuple[nn.Module, list[str]]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if isinstance(module, (*_NORMS, ParametrizationList)) or not (is_unbuilt(module) or matrices_of(module)):
            continue
        found.setdefault(id(module), (module, []))[1].append(name)
    for module, aliases in found.values():
        yield module, tuple(aliases)


def matrices_of(module: nn.Module) -> list[Tensor]:
    """The module's own weights of two or more dimensions, also those that are no parameters of it."""
    if is_unbuilt(module):
        return []
    own = [parameter.detach() for parameter in module.parameters(recurse=False)]
    if is_parametrized(module):
        names = dict(module.get_submodule("parametrizations").named_children())
        own += [getattr(module, name).detach() for name in names]
    if is_quantised(module):
        quantised: Any = module
        own.append(quantised.weight())
    return [weight for weight in own if weight.ndim >= 2]


def kept_digital(aliases: Sequence[str], keep_digital: Sequence[str]) -> str:
    """Why a layer with these names stays digital if the user asked for it; empty if not."""
    for kept in keep_digital:
        if any(alias == kept or alias.startswith(kept + ".") or kept == "" for alias in aliases):
            return f"kept digital as asked ({kept})"
    return ""


def inside_attention(aliases: Sequence[str], model: nn.Module) -> str:
    """Why a layer with these names stays digital if it belongs to an attention block; empty if not."""
    for alias in aliases:
        parts = alias.split(".")
        parents = (model.get_submodule(".".join(parts[:i])) for i in range(len(parts)))
        if any(isinstance(parent, nn.MultiheadAttention) for parent in parents):
            return "part of nn.MultiheadAttention, which reads its weights without calling its layers"
    return ""


def unmappable(module: nn.Module, *, grouped: bool) -> str:
    """Why a module with weights has to stay digital; empty if it can go onto the crossbar.

    Args:
        module: any module with weights.
        grouped: whether grouped convolutions go onto tiles, of which they leave most cells empty.
    """
    if is_quantised(module):
        return f"{type(module).__name__} holds quantised weights; map the model from before its quantisation"
    if is_unbuilt(module):
        return f"{type(module).__name__} has no weights before its first input; run a batch through the model first"
    reason = _wrong_kind(module) or _changed(module)
    if reason or not isinstance(module, _KINDS):
        return reason
    groups = 1 if isinstance(module, nn.Linear) else module.groups
    if groups != 1 and not grouped:
        return f"grouped convolution ({groups} groups), which leaves most cells of its tiles empty; --grouped maps it"
    return _unfit(module.weight)


def _wrong_kind(module: nn.Module) -> str:
    name = type(module).__name__
    if isinstance(module, nn.MultiheadAttention):
        return "attention computes with its weights directly, not through a layer"
    if is_parametrized(module):
        return "its weight is computed from other parameters"
    torchs = next((kind for kind in type(module).__mro__ if kind in _KINDS), None)
    if torchs is None:
        return f"{name} is not a convolution or a linear layer"
    own = [kind for kind in type(module).__mro__ if issubclass(kind, torchs) and kind is not torchs]
    if any(_COMPUTES & set(vars(kind)) for kind in own):
        return f"{name} is a subclass that may compute something else than its parent"
    return ""


def _changed(module: nn.Module) -> str:
    """Why a layer of torch's own class is not just its weight and bias."""
    if carries_hooks(module):
        return "carries hooks, which its analog replacement would drop"
    if read_by := getattr(module, READ_BY, ""):
        return f"its weight is used outside of the layer itself ({read_by})"
    if "forward" in vars(module):
        return "its forward was replaced by another function"
    if set(dict(module.named_parameters(recurse=False))) - {"weight", "bias"} or list(module.children()):
        return "its weight is computed from other parameters"
    return ""


def _unfit(weight: Tensor) -> str:
    """Why no tile can hold a weight, whatever its values."""
    if type(weight) not in (nn.Parameter, Tensor):
        return f"its weight is a {type(weight).__name__}, not a plain tensor"
    if weight.layout != torch.strided:
        return f"its weight is stored as {weight.layout}; make it dense first"
    if weight.dtype != torch.float32:
        return f"holds {weight.dtype}, the tiles need float32; call .float() first"
    return "" if weight.numel() else "holds no weights"


def carries_hooks(module: nn.Module) -> bool:
    """Whether something else happens when a module is called."""
    return bool(module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)


def is_quantised(module: nn.Module) -> bool:
    """Whether it is one of torch's quantised modules, whose weights are no parameters."""
    return type(module).__module__.startswith(_QUANTISED) and callable(getattr(type(module), "weight", None))


def is_unbuilt(module: nn.Module) -> bool:
    """Whether a lazy module has seen no input yet."""
    return any(isinstance(own, UninitializedParameter) for own in module.parameters(recurse=False))


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
