"""Where a change of a network's input shows in its outputs, and the least crop that gives these exactly.

A crop keeps the operators' own padding. Where it ends inside the whole image its padding is wrong, so that outputs
near that edge are; how far in is counted here, operator by operator and along each axis. Nothing here needs onnx.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from typing import NamedTuple

from nestevo_hw.models.onnx.crops.spans import Rect, Span

_MARGINS = 3
"""Grid cells that a crop may be enlarged by before the whole is run instead, from 0."""
_REMEMBERED = 8192
"""Results along one axis: a scene's changes come back to the same tiles."""


@dataclass(frozen=True, slots=True)
class Sliding:
    """A convolution or pooling along one axis; the default sees each cell alone."""

    kernel: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1

    @property
    def reach(self) -> int:
        """Cells from the first to the last that an output sees, less one."""
        return self.dilation * (self.kernel - 1)

    def length(self, cells: int) -> int:
        """Outputs of so many inputs."""
        return (cells + self.before + self.after - self.reach - 1) // self.stride + 1

    def seeing(self, span: Span) -> Span:
        """Outputs that see any of some inputs; it may lie partly outside."""
        first = -(-(span.start + self.before - self.reach) // self.stride)
        return Span(first, (span.stop - 1 + self.before) // self.stride + 1)

    def seen(self, span: Span) -> Span:
        """Inputs that some outputs see, padding included."""
        start = span.start * self.stride - self.before
        return Span(start, (span.stop - 1) * self.stride - self.before + self.reach + 1)

    def right(self, piece: "Piece", cells: int, outputs: int) -> "Piece | None":
        """What a piece of the inputs gives of the outputs; None where its first cell is at no whole output."""
        if piece.offset % self.stride:
            return None
        offset, length = piece.offset // self.stride, self.length(piece.length)
        first = -(-(piece.right.start + self.before) // self.stride) if piece.right.start else 0
        last = (piece.right.stop - 1 - self.reach + self.before) // self.stride + 1
        if piece.right.stop == cells == piece.offset + piece.length and offset + length == outputs:
            last = outputs
        return Piece(offset, length, Span(max(first, offset), min(last, offset + length)))

    def scaled(self, unit: int) -> int | None:
        """Pixels between two outputs, of those between two inputs."""
        return unit * self.stride


@dataclass(frozen=True, slots=True)
class Repeating:
    """Nearest upsampling by a whole factor along one axis."""

    factor: int

    def seeing(self, span: Span) -> Span:
        """Outputs that see any of some inputs."""
        return Span(span.start * self.factor, span.stop * self.factor)

    def seen(self, span: Span) -> Span:
        """Inputs that some outputs see."""
        return Span(span.start // self.factor, -(-span.stop // self.factor))

    def right(self, piece: "Piece", cells: int, outputs: int) -> "Piece | None":
        """What a piece of the inputs gives of the outputs."""
        if cells * self.factor != outputs:
            return None
        return Piece(piece.offset * self.factor, piece.length * self.factor, self.seeing(piece.right))

    def scaled(self, unit: int) -> int | None:
        """Pixels between two outputs, of those between two inputs; None if that is no whole number."""
        return None if unit % self.factor else unit // self.factor


Step = Sliding | Repeating


class Piece(NamedTuple):
    """A crop of a tensor along one axis."""

    offset: int
    """Where its first cell lies."""
    length: int
    right: Span
    """Cells, of the whole tensor, that have the values they would have there."""

    @property
    def all(self) -> Span:
        """Its cells."""
        return Span(self.offset, self.offset + self.length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """An operator; with several inputs it takes the same cell of each."""

    takes: tuple[str, ...]
    gives: tuple[str, ...]
    rows: Step = Sliding()
    columns: Step = Sliding()

    def step(self, axis: int) -> Step:
        """Along rows (0) or columns (1)."""
        return self.columns if axis else self.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Crop:
    """What to run for a change, and what it gives."""

    takes: Mapping[str, Rect]
    """Of each input of the network."""
    gives: Mapping[str, Rect]
    """Of each output that changes: all of its cells that do."""
    from_: Mapping[str, Rect]
    """The same cells in what the network gives on the crop."""
    share: float
    """Of the input's area."""


@dataclass(frozen=True, eq=False)
class Network:
    """What operators do with places, from inputs to outputs, each after those that it takes of.

    Args:
        inputs: pixels of the image between two cells, by name; 1, if there is one input alone.
        outputs: by name.
        nodes: in an order in which they can run.
        sizes: (H, W) of every tensor on the whole image.

    Raises:
        ValueError: tensors that meet lie on different grids.
    """

    inputs: Mapping[str, int]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    sizes: Mapping[str, tuple[int, int]]

    def __post_init__(self) -> None:
        assert self.units

    @cached_property
    def units(self) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Pixels between two cells of each tensor, along rows and columns."""
        both = (dict(self.inputs), dict(self.inputs))
        for axis, units in enumerate(both):
            for node in self.nodes:
                found = {node.step(axis).scaled(units[name]) for name in node.takes}
                unit = found.pop()
                if found or unit is None:
                    raise ValueError(f"{' and '.join(node.takes)} lie on different grids")
                units.update(dict.fromkeys(node.gives, unit))
        return both

    def changed(self, inputs: Mapping[str, Rect]) -> dict[str, Rect]:
        """Where outputs may change with parts of some inputs; outputs that stay as they are are left out."""
        rows, columns = (
            _changed(self, axis, tuple((name, rect[axis]) for name, rect in inputs.items())) for axis in (0, 1)
        )
        return {name: Rect(rows[name], columns[name]) for name in self.outputs if name in rows and name in columns}

    def crop(self, changed: Mapping[str, Rect]) -> Crop | None:
        """The least aligned crop that gives parts of some outputs, as `changed` returns them, exactly.

        Returns:
            None where there is none but the whole: the operators' phases or sizes do not fit a crop.
        """
        rows, columns = (
            _pieces(self, axis, tuple((name, rect[axis]) for name, rect in changed.items())) for axis in (0, 1)
        )
        if rows is None or columns is None:
            return None
        takes = {name: Rect(rows[name].all, columns[name].all) for name in self.inputs}
        from_ = {name: rect.moved(rows[name].offset, columns[name].offset) for name, rect in changed.items()}
        area = sum(math.prod(self.sizes[name]) for name in self.inputs)
        share = sum(rect.area for rect in takes.values()) / area
        return Crop(takes=takes, gives=dict(changed), from_=from_, share=share)


_Sides = tuple[tuple[str, Span], ...]
"""Cells of tensors along one axis."""


@lru_cache(maxsize=_REMEMBERED)
def _changed(network: Network, axis: int, inputs: _Sides) -> Mapping[str, Span]:
    found = dict(inputs)
    for node in network.nodes:
        spans = [found[name] for name in node.takes if name in found]
        if not spans:
            continue
        hull = reduce(Span.hull, spans)
        for name in node.gives:
            seeing = node.step(axis).seeing(hull).within(network.sizes[name][axis])
            if seeing.size:
                found[name] = seeing
    return found


@lru_cache(maxsize=_REMEMBERED)
def _pieces(network: Network, axis: int, wanted: _Sides) -> Mapping[str, Piece] | None:
    """Pieces of all tensors, of which those of the wanted outputs are right where they are wanted."""
    units, sizes = network.units[axis], network.sizes
    grid = math.lcm(*units.values())
    extent = max(sizes[name][axis] * units[name] for name in network.inputs)
    need = _needed(network, axis, dict(wanted))
    first = min(need[name].start * units[name] for name in network.inputs if name in need) // grid
    last = -(-max(need[name].stop * units[name] for name in network.inputs if name in need) // grid)
    for margin in range(_MARGINS):
        pixels = Span((first - margin) * grid, (last + margin) * grid).within(-(-extent // grid) * grid)
        pieces = _run(network, axis, pixels)
        if pieces and all(pieces[name].right.holds(cells) for name, cells in wanted):
            return pieces
    return None


def _needed(network: Network, axis: int, need: dict[str, Span]) -> dict[str, Span]:
    """Cells of each tensor that some outputs see."""
    for node in reversed(network.nodes):
        for name in node.gives:
            if name in need:
                seen = node.step(axis).seen(need[name])
                for taken in node.takes:
                    need[taken] = seen.within(network.sizes[taken][axis]).hull(need.get(taken))
    return need


def _run(network: Network, axis: int, pixels: Span) -> dict[str, Piece] | None:
    """Pieces of all tensors from those pixels of the image; None where operators do not fit them."""
    units, sizes, pieces = network.units[axis], network.sizes, dict[str, Piece]()
    for name in network.inputs:
        cells = Span(pixels.start // units[name], -(-pixels.stop // units[name])).within(sizes[name][axis])
        pieces[name] = Piece(cells.start, cells.size, cells)
    for node in network.nodes:
        taken = [pieces[name] for name in node.takes]
        if len({piece[:2] for piece in taken}) > 1:
            return None
        right = Span(max(piece.right.start for piece in taken), min(piece.right.stop for piece in taken))
        for name in node.gives:
            lengths = sizes[node.takes[0]][axis], sizes[name][axis]
            made = node.step(axis).right(taken[0]._replace(right=right), *lengths)
            if made is None or made.length < 1:
                return None
            pieces[name] = made
    return pieces
