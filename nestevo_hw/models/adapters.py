"""Digital adapters of a frozen model: low-rank side paths beside its layers, and its BatchNorm.

A layer computes y = W x + B A x with A of few rows (LoRA, Hu et al., 2021); W may be on an analog crossbar, where it
stays as it was programmed, while A and B are digital. Adapters of analog models are known from AHWA-LoRA (Li et al.,
2024), there of transformers.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.tensors import read_tensors, write_tensors
from nestevo_hw.models.batch_norm import norms

Beside = nn.Conv2d | nn.Linear
SIDE, NORM = "side/", "norm/"


class SidePath(nn.Module):
    """B A x beside one layer; 0 at first, as B is."""

    def __init__(self, layer: Beside, rank: int, generator: torch.Generator) -> None:
        """Draw A, with outputs about as large as its inputs.

        Args:
            layer: digital, of which only the shape counts.
            rank: of B A; at most the smaller side of the layer's matrix.
            generator: on the CPU.
        """
        super().__init__()
        outputs, *inside = layer.weight.shape
        inputs = inside[0] * (inside[1] * inside[2] if len(inside) > 1 else 1)
        rank = min(rank, outputs, inputs)
        drawn = torch.randn(rank, *inside, generator=generator) * inputs**-0.5
        self.down = nn.Parameter(drawn)
        """A, (rank, ...) in the layer's shape."""
        self.up = nn.Parameter(torch.zeros(outputs, rank, *(1 for _ in inside[1:])))
        """B, (outputs, rank), with a kernel of one pixel beside a convolution."""
        self._how = (layer.stride, layer.padding, layer.dilation) if isinstance(layer, nn.Conv2d) else None

    def forward(self, x: Tensor) -> Tensor:
        """What is added to the layer's output."""
        if self._how is None:
            return F.linear(F.linear(x, self.down), self.up)
        stride, padding, dilation = self._how
        columns = F.conv2d(x, self.down, None, stride, padding, dilation)
        return F.conv2d(columns, self.up)


class Adapters(nn.Module):
    """Side paths of a model's layers by name; its BatchNorm belongs to them, and is kept with them.

    Args:
        model: digital; `layers_with_side_path` get one each.
        rank: of each; 0 leaves BatchNorm alone.
        generator: of what is drawn.
    """

    def __init__(self, model: nn.Module, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self._rank = rank
        self.of_layer: dict[str, SidePath] = {
            name: SidePath(layer, rank, generator)
            for name, layer in (layers_with_side_path(model) if rank else {}).items()
        }
        """Side path of each layer that has one."""
        self.paths = nn.ModuleList(self.of_layer.values())

    @contextmanager
    def beside(self, model: nn.Module) -> Iterator[None]:
        """Let the side paths add to the layers of a model, digital or on the crossbar, within the block."""
        with ExitStack() as leaving:
            for remove in self._attach(model):
                leaving.callback(remove)
            yield

    def attach(self, model: nn.Module) -> None:
        """Put the side paths beside the layers of a model for good."""
        self._attach(model)

    def _attach(self, model: nn.Module) -> list[Callable[[], None]]:
        return [
            model.get_submodule(name).register_forward_hook(_adding(path)).remove
            for name, path in self.of_layer.items()
        ]

    def save(self, model: nn.Module, path: Path) -> None:
        """Write the side paths and the BatchNorm of the model that they were trained beside."""
        tensors = {f"{NORM}{key}": value for key, value in _norm_state(model).items()}
        tensors |= {f"{SIDE}{key}": value for key, value in self.state_dict().items()}
        write_tensors(path, {key: value.detach().cpu() for key, value in tensors.items()}, {"rank": str(self._rank)})


def layers_with_side_path(model: nn.Module) -> dict[str, Beside]:
    """By name the layers of a model that can have one: convolutions without groups or padding modes, linear ones."""
    return {name: layer for name, layer in model.named_modules() if _can_have_one(layer)}


def put_beside(model: nn.Module, digital: nn.Module, path: Path) -> None:
    """Give a model what `Adapters.save` wrote: side paths beside its layers, and BatchNorm.

    Args:
        model: on the crossbar or digital; changed in place.
        digital: of the same architecture.
        path: of the file.

    Raises:
        InputError: the file is missing, corrupt, or of another architecture.
    """
    header, tensors = read_tensors(path)
    norm = {key.removeprefix(NORM): value for key, value in tensors.items() if key.startswith(NORM)}
    side = {key.removeprefix(SIDE): value for key, value in tensors.items() if key.startswith(SIDE)}
    adapters = Adapters(digital, int(header.get("rank", "0")), torch.Generator())
    if norm.keys() != _norm_state(model).keys() or side.keys() != adapters.state_dict().keys():
        raise InputError(f"{path} holds no adapters of this architecture; delete it and run again")
    try:
        adapters.load_state_dict(side)
        model.load_state_dict(norm, strict=False)
    except RuntimeError as error:
        raise InputError(f"{path} holds adapters of other shapes; delete it and run again") from error
    adapters.to(next(iter(_norm_state(model).values())).device).requires_grad_(requires_grad=False)
    adapters.attach(model)


def _norm_state(model: nn.Module) -> dict[str, Tensor]:
    """Scale, shift and statistics of all BatchNorm layers, by their keys in the model's state."""
    return {f"{name}.{key}": value for name, norm in norms(model) for key, value in norm.state_dict().items()}


def _can_have_one(layer: nn.Module) -> TypeGuard[Beside]:
    if isinstance(layer, nn.Conv2d):
        return layer.groups == 1 and layer.padding_mode == "zeros"
    return isinstance(layer, nn.Linear)


def _adding(path: SidePath) -> Callable[[nn.Module, tuple[Any, ...], Tensor], Tensor]:
    return lambda _layer, inputs, output: output + path(inputs[0])
