"""A supernet: a frozen base model, and beside its basic blocks merged and shrunk ones to take in their place."""

import copy
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.models.batch_norm import fresh_statistics, norms
from nestevo_hw.models.elastic.blocks import inner_width, merged, shrinkable, shrunk, shrunk_width
from nestevo_hw.models.elastic.chain import Chain, find_chain, inputs_of, outputs_of
from nestevo_hw.models.elastic.fitting import before_relu, fit
from nestevo_hw.models.elastic.space import Branch, BranchPath, PathSpace, all_branches, path_name
from nestevo_hw.models.elastic.structure import place
from nestevo_hw.models.inputs import is_detector

RATES = (0.25, 0.5)
SPANS = (2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a supernet is."""

    base: int
    """Weights and BatchNorm statistics of the base model."""
    supernet: int
    """The same of base and branches."""

    @property
    def ratio(self) -> float:
        """Of supernet to base."""
        return self.supernet / self.base


class Supernet(nn.Module):
    """Base and branches; the path of the base is the base itself, to the bit.

    In training mode BatchNorm keeps its statistics: every path through a branch shares them.

    Args:
        base: in eval mode; its weights are frozen.
        chain: of its blocks.
        branches: new blocks by branch.
    """

    def __init__(self, base: nn.Module, chain: Chain, branches: dict[Branch, nn.Module]) -> None:
        super().__init__()
        self.base, self.chain = base.eval().requires_grad_(requires_grad=False), chain
        self.space = PathSpace(
            blocks=len(chain.names),
            branches=tuple(sorted([*(Branch(k) for k in range(len(chain.names))), *branches])),
        )
        self.branches = nn.ModuleDict({_key(branch): block for branch, block in branches.items()})
        self.branches.requires_grad_()

    def train(self, mode: bool = True) -> "Supernet":
        """See `nn.Module.train`; BatchNorm stays as in use."""
        super().train(mode)
        for _, norm in norms(self):
            norm.eval()
        return self

    def block(self, branch: Branch) -> nn.Module:
        """What computes a branch."""
        if branch.original:
            return self.base.get_submodule(self.chain.names[branch.start])
        return self.branches[_key(branch)]

    @contextmanager
    def on(self, path: BranchPath) -> Iterator[nn.Module]:
        """The model of a path, for the time of a block; it is the base with other blocks in place of its own.

        Raises:
            ConfigError: it is no path of this supernet.
        """
        if not self.space.holds(path):
            raise ConfigError(f"{path_name(path)} is no path through this supernet")
        originals = [self.block(Branch(k)) for k in range(self.space.blocks)]
        try:
            place(self.base, self.chain.names, [(branch, self.block(branch)) for branch in path])
            yield self.base
        finally:
            for name, block in zip(self.chain.names, originals, strict=True):
                self.base.set_submodule(name, block)

    def model(self, path: BranchPath) -> nn.Module:
        """The model of a path by itself, in eval mode."""
        with self.on(path) as model:
            return copy.deepcopy(model).eval()

    def absorb(self, path: BranchPath, model: nn.Module) -> None:
        """Take over the weights and statistics of a path's model, in place; every path shares what lies on both.

        That is no longer the supernet as it was built: the stem, what comes behind the blocks, and originals on the
        path are those of the model, and the path of the originals is no longer its base to the bit.

        Raises:
            ConfigError: it is no path of this supernet.
        """
        with self.on(path) as own:
            own.load_state_dict(model.state_dict())

    @property
    def size(self) -> Size:
        """Numbers that are stored."""
        count = sum(t.numel() for t in self.base.state_dict().values())
        return Size(base=count, supernet=count + sum(t.numel() for t in self.branches.state_dict().values()))


def _key(branch: Branch) -> str:
    return branch.name.replace(".", "_")


@torch.no_grad()
def expand(
    base: nn.Module, images: Tensor, *, spans: Sequence[int] = SPANS, rates: Sequence[float] = RATES
) -> Supernet:
    """A supernet of a model, whose new blocks are fitted to the ones that they replace.

    Args:
        base: in eval mode, on the CPU; it becomes a part of the supernet.
        images: (N, 3, H, W) floats in 0..1, of one size, to fit on.
        spans: numbers of blocks that a block is merged over.
        rates: of structural pruning.

    Raises:
        InputError: it is no chain of basic blocks.
        ConfigError: nothing is to be merged, and nothing can be pruned.
    """
    chain = find_chain(base, as_inputs(base, images[:1]))
    originals = [base.get_submodule(name) for name in chain.names]
    taken = inputs_of(base, chain.names, as_inputs(base, images))
    branches: dict[Branch, nn.Module] = {}
    for branch in new_branches(base, chain, spans=spans, rates=rates):
        span, x = originals[branch.start : branch.end], taken[branch.start]
        block = shrunk(span[0], shrunk_width(span[0], branch.shrink), x[:1]) if branch.shrink else merged(span)
        fit(block, x, before_relu(span[-1], taken[branch.end - 1]))
        branches[branch] = block
    return Supernet(base, chain, branches)


def new_branches(base: nn.Module, chain: Chain, *, spans: Sequence[int], rates: Sequence[float]) -> list[Branch]:
    """What blocks of a model can be merged or pruned into, beside the blocks themselves.

    Raises:
        ConfigError: nothing.
    """
    originals = [base.get_submodule(name) for name in chain.names]
    found = []
    for branch in all_branches(len(originals), taps=chain.taps, spans=spans, rates=rates):
        span = originals[branch.start : branch.end]
        shrinks = not branch.shrink or _narrower(span[0], branch.shrink, rates)
        if not branch.original and mergeable(span) and shrinks:
            found.append(branch)
    if not found:
        raise ConfigError(f"no block of a {type(base).__name__} becomes narrower or is merged; allow longer merges")
    return found


def _narrower(block: nn.Module, rate: float, rates: Sequence[float]) -> bool:
    """Whether a block shrunk at a rate is narrower than whole, and than at any lower rate."""
    width = shrunk_width(block, rate)
    wider = [inner_width(block), *(shrunk_width(block, other) for other in rates if other < rate)]
    return shrinkable(block) and width < min(wider)


def mergeable(blocks: Sequence[nn.Module]) -> bool:
    """Whether blocks are of one kind."""
    return len({type(block) for block in blocks}) == 1


def as_inputs(model: nn.Module, images: Tensor) -> Tensor | list[Tensor]:
    """(N, 3, H, W) floats as a model's forward takes them."""
    return list(images) if is_detector(model) else images


@torch.no_grad()
def recalibrate(supernet: Supernet, images: Tensor, generator: random.Random, *, batch_size: int = 32) -> None:
    """Replace the BatchNorm statistics of every branch by those of frames on random paths through it, in place.

    Args:
        supernet: in eval mode; the statistics of the base stay.
        images: (N, 3, H, W) floats in 0..1, on the supernet's device.
        generator: of the paths, one for each branch and part of the frames.
        batch_size: frames of a part, about.
    """
    parts = images.chunk(max(1, len(images) // batch_size))
    with fresh_statistics(supernet.branches):
        for branch, part in product(sorted(supernet.space.known), parts):
            if branch.original:
                continue
            path = through(supernet.space, branch, generator)
            with supernet.on(path) as model:
                outputs_of(model, supernet.chain.names[path[-1].start :][:1], as_inputs(model, part))


def through(space: PathSpace, branch: Branch, generator: random.Random) -> BranchPath:
    """A path through a branch, each as likely as any other."""
    to = [1] + [0] * space.blocks
    for one in sorted(space.known, key=lambda one: one.end):
        to[one.end] += to[one.start]
    path = [branch]
    while (start := path[0].start) > 0:
        before = [one for one in space.branches if one.end == start]
        path[:0] = generator.choices(before, [to[one.start] for one in before])
    while (end := path[-1].end) < space.blocks:
        after = space.starting[end]
        path += generator.choices(after, [space.ways[one.end] for one in after])
    return tuple(path)
