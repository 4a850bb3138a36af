"""Layers on a limited number of arrays: copies of busy layers, and passes where the model does not fit at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from nestevo_hw.base.errors import MappingError


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One layer in one frame, as far as its arrays are concerned."""

    name: str
    arrays: int
    """Arrays that hold one copy of the layer; 0 for a digital layer."""
    products: int
    """Products for a frame; the arrays of one copy do each of them together."""
    digital_macs: int = 0
    """Multiply-accumulates of a layer that is not on the arrays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Stages that are on the arrays at the same time and work on successive frames in a pipeline."""

    stages: tuple[Stage, ...]
    copies: tuple[int, ...]
    """Of each stage; 0 for a digital one."""
    interval: int
    """From one frame to the next, in products of an array."""

    @property
    def arrays(self) -> int:
        """Arrays in use, copies included."""
        return sum(stage.arrays * copies for stage, copies in zip(self.stages, self.copies, strict=True))


def balanced(stages: Sequence[Stage], arrays: int) -> Pass | None:
    """The fastest pipeline of `stages` on `arrays` arrays, spare ones holding copies of busy layers; None if too few.

    A layer with c copies takes ceil(products / c) products for a frame, so an interval t asks for
    ceil(products / t) copies. The arrays needed never grow with t, so bisection over whole t finds the smallest
    interval that fits, exactly.
    """
    if sum(stage.arrays for stage in stages) > arrays:
        return None

    def copies(interval: int) -> list[int]:
        return [max(-(-stage.products // interval), 1) if stage.arrays else 0 for stage in stages]

    low, high = 1, max((stage.products for stage in stages if stage.arrays), default=1)
    while low < high:
        middle = (low + high) // 2
        if sum(stage.arrays * count for stage, count in zip(stages, copies(middle), strict=True)) <= arrays:
            high = middle
        else:
            low = middle + 1
    busy = any(stage.arrays and stage.products for stage in stages)
    return Pass(stages=tuple(stages), copies=tuple(copies(low)), interval=low if busy else 0)


def passes(stages: Sequence[Stage], arrays: int) -> tuple[Pass, ...]:
    """As few passes over the model as `arrays` arrays allow, cut where the sum of their intervals is smallest.

    Layers stay in their order. A layer larger than all arrays together is cut into parts of equal work first,
    whose partial sums are added digitally. Between two passes the arrays are written anew, so fewer is better.

    Raises:
        MappingError: no arrays at all.
    """
    if arrays < 1:
        raise MappingError(f"need at least one array, got {arrays}")
    parts = [part for stage in stages for part in _parts(stage, arrays)]
    together = balanced(parts, arrays)
    if together is not None:
        return (together,)
    cuts = _cuts(parts, arrays)
    found = (balanced(parts[start:stop], arrays) for start, stop in pairwise(cuts))
    return tuple(one for one in found if one is not None)


def _parts(stage: Stage, arrays: int) -> list[Stage]:
    count = max(-(-stage.arrays // arrays), 1)
    base, extra = divmod(stage.arrays, count)
    return [replace(stage, arrays=base + (i < extra)) for i in range(count)]


def _cuts(stages: Sequence[Stage], arrays: int) -> list[int]:
    """Where passes begin, and the end: fewest passes, then the smallest sum of intervals (dynamic programming)."""
    best = [_Plan(passes=0, interval=0, start=0)]
    first = 0  # of the stages that still fit together with the last one
    for stop in range(1, len(stages) + 1):
        while sum(stage.arrays for stage in stages[first:stop]) > arrays:
            first += 1
        # No start needs fewer passes than the earliest one, so only its equals can be better.
        options = []
        for start in range(first, stop):
            if best[start].passes > best[first].passes:
                break
            last = balanced(stages[start:stop], arrays)
            interval = best[start].interval + (last.interval if last else 0)
            options.append(_Plan(passes=best[start].passes + 1, interval=interval, start=start))
        best.append(min(options, key=lambda plan: plan.interval))
    cuts = [len(stages)]
    while cuts[-1] > 0:
        cuts.append(best[cuts[-1]].start)
    return cuts[::-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """The best way to do the first stages."""

    passes: int
    interval: int
    start: int
    """First stage of the last pass."""
