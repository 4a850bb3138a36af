"""The chain of basic blocks in a model, as a pass through it shows it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

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

    An output is read elsewhere if something but the next block changes with it: the model's output, or that of a module
    that neither is nor holds a block. So it is seen by whatever means it is read, a sum in a `forward` included.

    Args:
        model: in eval mode.
        inputs: that it is tried with, as its forward takes them.

    Raises:
        InputError: it has fewer than two basic blocks, runs one more than once, computes between two, or reads what
            comes before them again behind them.
    """
    blocks = {name: module for name, module in model.named_modules() if is_block(module)}
    passes = _Pass(model, inputs, blocks)
    usual, ran = passes.first(), passes.ran
    if len(ran) < 2 or len(set(ran)) < len(ran):
        raise InputError(
            f"a {type(model).__name__} is no chain of basic blocks ({len(set(ran))} found); give one of BasicBlock, "
            "Bottleneck or InvertedResidual of torchvision, each used once"
        )
    if not _same(passes.of_another_image(), usual):
        raise InputError(
            f"a {type(model).__name__} is no chain of basic blocks: behind them it reads what comes before them, too"
        )
    taps = tuple(k for k in range(len(ran) - 1) if not _same(passes.otherwise(k), usual))
    return Chain(names=tuple(ran), taps=taps)


class _Pass:
    """Passes through a model, of which blocks and the modules beside them tell what they give.

    Args:
        model: to run.
        inputs: that it takes.
        blocks: of it, by their names.
    """

    def __init__(self, model: nn.Module, inputs: object, blocks: Mapping[str, nn.Module]) -> None:
        self._model, self._inputs, self._blocks = model, inputs, blocks
        self._beside = [m for name, m in model.named_modules() if not any(_related(name, block) for block in blocks)]
        self.ran: list[str] = []
        """Blocks in the order in which they run."""
        self._taken: dict[str, Tensor] = {}
        self._given: Tensor | None = None

    def first(self) -> list[Tensor]:
        """All that modules behind the first block give but the blocks, and the model; learns of the blocks."""
        with ExitStack() as hooks:
            for name, block in self._blocks.items():
                hooks.enter_context(block.register_forward_pre_hook(partial(self._enter, name)))
                hooks.enter_context(block.register_forward_hook(self._leave))
            return self._seen(self._inputs)

    def of_another_image(self) -> list[Tensor]:
        """The same of another image of which the first block takes the same."""
        with self._handed(0):
            return self._seen(_inverted(self._inputs))

    def otherwise(self, block: int) -> list[Tensor]:
        """The same where a block gives something else to all but the next one."""
        changed = self._blocks[self.ran[block]].register_forward_hook(lambda _m, _i, given: given + given.abs() + 1.0)
        with changed, self._handed(block + 1):
            return self._seen(self._inputs)

    def _handed(self, block: int) -> RemovableHandle:
        """For the time of a context, hand a block what it took in the first pass."""
        name = self.ran[block]
        return self._blocks[name].register_forward_pre_hook(lambda *_: (self._taken[name].clone(),))

    @torch.no_grad()
    def _seen(self, inputs: object) -> list[Tensor]:
        seen: list[Tensor] = []
        begun = False

        def begin(*_: object) -> None:
            nonlocal begun
            begun = True

        def note(_: nn.Module, __: object, given: object) -> None:
            if begun:
                seen.extend(_tensors(given))

        with ExitStack() as hooks:
            for block in self._blocks.values():
                hooks.enter_context(block.register_forward_pre_hook(begin))
            for module in self._beside:
                hooks.enter_context(module.register_forward_hook(note))
            seen.extend(_tensors(self._model(inputs)))
        return seen

    def _enter(self, name: str, _: nn.Module, taken: tuple[Any, ...]) -> None:
        if len(taken) != 1 or (self._given is not None and not torch.equal(taken[0], self._given)):
            raise InputError(
                f"a {type(self._model).__name__} is no chain of basic blocks: what {name} takes is not what the block "
                "before it gives"
            )
        self.ran.append(name)
        self._taken[name] = taken[0].clone()

    def _leave(self, _: nn.Module, __: object, given: Tensor) -> None:
        self._given = given.clone()


def _inverted(images: object) -> Any:  # noqa: ANN401 - as it was given
    """Images of 0..1 in which white is black."""
    return 1.0 - images if isinstance(images, Tensor) else [1.0 - image for image in images]  # type: ignore[attr-defined]


def _related(one: str, other: str) -> bool:
    """Whether one of two modules is or holds the other, by their names."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.") or not one


def _tensors(value: object) -> Iterator[Tensor]:
    """All tensors in what a module gives, copied."""
    if isinstance(value, Tensor):
        yield value.clone()
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _tensors(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _tensors(one)


def _same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))


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
