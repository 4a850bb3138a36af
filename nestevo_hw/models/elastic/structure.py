"""A model of one path, before it has weights: what a checkpoint says of its blocks."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.elastic.blocks import is_block, merged
from nestevo_hw.models.elastic.space import Branch, BranchPath, path_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """A path through the basic blocks of an architecture.

    Raises:
        ValueError: the branches do not follow one another from the first block to the last.
    """

    names: tuple[str, ...]
    """Of the basic blocks among the architecture's modules, in the order in which they run."""
    path: BranchPath

    def __post_init__(self) -> None:
        ends = [0, *(branch.end for branch in self.path)]
        if ends[1:] and [branch.start for branch in self.path] == ends[:-1] and ends[-1] == len(self.names):
            return
        raise ValueError(f"{path_name(self.path)} is no path through {len(self.names)} blocks")

    def put_into(self, model: nn.Module) -> None:
        """Give a fresh model the blocks of the path, in place; shrunk ones get their shapes with their weights.

        Raises:
            InputError: the model has no such blocks.
        """
        blocks = blocks_named(model, self.names)
        place(model, self.names, [(b, fresh_block(blocks[b.start : b.end])) for b in self.path])


def fresh_block(span: Sequence[nn.Module]) -> nn.Module:
    """The block of a branch over basic blocks, before it has weights."""
    return merged(span) if len(span) > 1 else copy.deepcopy(span[0])


def blocks_named(model: nn.Module, names: Sequence[str]) -> list[nn.Module]:
    """The basic blocks of these names.

    Raises:
        InputError: there is none of a name.
    """
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules or not is_block(modules[name]):
            raise InputError(f"a {type(model).__name__} has no basic block {name!r}; the file is of another model")
    return [modules[name] for name in names]


def place(model: nn.Module, names: Sequence[str], path: Sequence[tuple[Branch, nn.Module]]) -> None:
    """Put the blocks of a path into a model, in place of its own."""
    for branch, block in path:
        model.set_submodule(names[branch.start], block)
        for name in names[branch.start + 1 : branch.end]:
            model.set_submodule(name, nn.Identity())
