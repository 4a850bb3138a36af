"""The chain of basic blocks in a model, as a pass through it shows it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.elastic.blocks import is_block


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Blocks of a model, each of which takes what the one before gives."""

    names: tuple[str, ...]
    """Of the blocks among the model's modules, in the order in which they run."""
    taps: tuple[int, ...]
    """Blocks whose output is read by something else than the next block, as by a feature pyramid."""


def find_chain(model: nn.Module, inputs: object) -> Chain:
    """The basic blocks of a model in the order in which they run, and which of their outputs are read elsewhere.

    Args:
        model: in eval mode.
        inputs: that it is tried with, as its forward takes them.

    Raises:
        InputError: it has fewer than two basic blocks, or runs one more than once.
    """
    blocks = {name: module for name, module in model.named_modules() if is_block(module)}
    ran: list[str] = []
    given: list[Tensor] = []
    read: list[tuple[str, int]] = []

    def enter(name: str, inputs: tuple[Any, ...]) -> None:
        read.extend((name, k) for k, output in enumerate(given) if any(one is output for one in inputs))

    def leave(name: str, output: Tensor) -> None:
        ran.append(name)
        given.append(output)

    with ExitStack() as hooks, torch.no_grad():
        for name, module in model.named_modules():
            if not any(name.startswith(f"{block}.") for block in blocks):
                hooks.enter_context(module.register_forward_pre_hook(lambda _, taken, name=name: enter(name, taken)))
        for name, module in blocks.items():
            hooks.enter_context(module.register_forward_hook(lambda _m, _i, output, name=name: leave(name, output)))
        model(inputs)
    if len(ran) < 2 or len(set(ran)) < len(ran):
        raise InputError(
            f"a {type(model).__name__} is no chain of basic blocks ({len(set(ran))} found); give one of BasicBlock, "
            "Bottleneck or InvertedResidual of torchvision, each used once"
        )
    around = {name for name in dict(model.named_modules()) if any(b.startswith(f"{name}.") for b in ran) or not name}
    readers = [{name for name, k in read if k == block} - around for block in range(len(ran))]
    taps = tuple(k for k, names in enumerate(readers[:-1]) if names != {ran[k + 1]})
    return Chain(names=tuple(ran), taps=taps)


class _Ended(Exception):  # noqa: N818 - ends a forward pass, and is no error
    """What was asked for has been seen."""


@contextmanager
def _until_ended() -> Iterator[ExitStack]:
    with ExitStack() as hooks, suppress(_Ended):
        yield hooks


def inputs_of(model: nn.Module, names: Sequence[str], inputs: object) -> list[Tensor]:
    """What the modules of these names take in a pass; nothing behind the last of them runs."""
    taken: dict[str, Tensor] = {}

    def take(name: str, given: tuple[Tensor, ...]) -> None:
        taken[name] = given[0]
        if len(taken) == len(names):
            raise _Ended

    with _until_ended() as hooks:
        for name in names:
            hook = model.get_submodule(name).register_forward_pre_hook(lambda _, given, name=name: take(name, given))
            hooks.enter_context(hook)
        model(inputs)
    return [taken[name] for name in names]


def outputs_of(model: nn.Module, names: Sequence[str], inputs: object) -> list[Tensor]:
    """What the modules of these names give in a pass; nothing behind the last of them runs."""
    taken: dict[str, Tensor] = {}

    def take(name: str, output: Tensor) -> None:
        taken[name] = output
        if len(taken) == len(names):
            raise _Ended

    with _until_ended() as hooks:
        for name in names:
            hook = model.get_submodule(name).register_forward_hook(lambda _m, _i, out, name=name: take(name, out))
            hooks.enter_context(hook)
        model(inputs)
    return [taken[name] for name in names]
