"""Rungs of a ladder as a model runs them: by its stages, which may be joined of several blocks, and as a whole."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.elastic.parts import IMAGE
from nestevo_hw.models.onnx.crops.names import LEAST, OBJECTNESS
from nestevo_hw.terminals.dynamic.hooks.ways import Hooks, Narrow, Skip, Ways
from nestevo_hw.terminals.dynamic.preparing import Prepared, StageModel
from nestevo_hw.terminals.dynamic.profile import Profile
from nestevo_hw.terminals.dynamic.proposing import Regions
from nestevo_hw.terminals.dynamic.stages import Stage, Values, open_session
from nestevo_hw.terminals.runtime import Found

if TYPE_CHECKING:
    from nestevo_hw.models.onnx.crops.joining import Link
    from nestevo_hw.models.onnx.crops.narrowing import Inner

_WARM = 4


def add_way(
    stage: Stage, name: str, file: bytes, values: Values, profile: Profile, threads: int, clock: Callable[[], float]
) -> None:
    """Have a stage know a way, and measure it on some values.

    Raises:
        InputError: it does not give what the stage gives.
    """
    stage.add_way(name, file, threads)
    for turn in range(_WARM):
        began = clock()
        given = stage.dense(values, name)
        took = clock() - began
        if turn:
            profile.stages[stage.name].whole(name).add(took)
        elif any(given[own].shape != values[own].shape for own in given):
            raise InputError(f"the way {name} of {stage.name} does not fit it; fit the hooks again")


def way_file(hooks: Hooks, block: StageModel, name: str) -> bytes:
    """The graph of a block in some way; "": as it is.

    Raises:
        InputError: the way does not fit the block.
    """
    from nestevo_hw.models.onnx.crops.narrowing import inner_of, narrowed, scaled

    if not name:
        return block.model
    way = hooks.ways[block.name][name]
    if isinstance(way, Skip):
        return scaled(block.model, way.scale, way.shift, way.floor)
    inner = inner_of(block.model)
    if inner is None or not _fits(way, inner):
        raise InputError(f"the way {name} of {block.name} does not fit it; fit the hooks again")
    return narrowed(block.model, inner, way.kept.tolist(), way.weights, way.bias)


def _fits(way: Narrow, inner: "Inner") -> bool:
    outputs, _, *kernel = inner.weights.shape
    known = way.kept.ndim == 1 and len(way.kept) and way.kept.min() >= 0 and way.kept.max() < inner.width
    return bool(known) and (way.weights.shape, way.bias.shape) == ((outputs, len(way.kept), *kernel), (outputs,))


def add_rungs(
    hooks: Hooks, stages: Sequence[Stage], values: Values, profile: Profile, threads: int, clock: Callable[[], float]
) -> tuple[dict[str, str], ...]:
    """Have stages know what they do on each rung, as one way each.

    Returns:
        Ways by stage, of each rung.

    Raises:
        InputError: a way does not fit its stage.
    """
    found: tuple[dict[str, str], ...] = tuple({} for _ in hooks.rungs)
    for stage in stages:
        known = dict[tuple[str, ...], str]()
        for number, rung in enumerate(hooks.rungs, 1):
            names = tuple(rung.get(block.name, "") for block in stage.model.blocks)
            if not any(names):
                continue
            if names not in known:
                known[names] = f"rung {number}"
                file = _stage_file(hooks, stage.model, rung)
                add_way(stage, known[names], file, values, profile, threads, clock)
            found[number - 1][stage.name] = known[names]
    return found


def _stage_file(hooks: Hooks, stage: StageModel, rung: Ways) -> bytes:
    """A stage on a rung."""
    if not stage.joined_of:
        return way_file(hooks, stage, rung.get(stage.name, ""))
    return _file([_link(hooks, block, rung) for block in stage.blocks], list(stage.gives.values()))


def _link(hooks: Hooks, block: StageModel, rung: Ways) -> "Link":
    from onnx import load_from_string

    from nestevo_hw.models.onnx.crops.joining import Link

    file = way_file(hooks, block, rung.get(block.name, ""))
    return Link(model=load_from_string(file), takes=block.takes, gives=block.gives)


def _file(links: "Sequence[Link]", outputs: Sequence[str], sizes: Mapping[str, Sequence[int]] | None = None) -> bytes:
    from nestevo_hw.models.onnx.crops.joining import joined

    file: bytes = joined(links, outputs, sizes).SerializeToString()
    return file


class Halves:
    """The whole model in two, between which the hook looks: one session, and behind it one for each rung.

    Where all of a frame is computed, nothing between stages has to be kept, and each session more costs time. What is
    run has no state, so threads may share it.

    Args:
        prepared: the model.
        hooks: fitted for it; a stage gives what they look at.
        values: of all its tensors between stages, for their sizes.
        threads: that one operator may compute on.

    Raises:
        InputError: a way does not fit its block.
    """

    def __init__(self, prepared: Prepared, hooks: Hooks, values: Values, threads: int) -> None:
        blocks = [block for stage in prepared.stages for block in stage.blocks]
        end = next(k for k, block in enumerate(blocks, 1) if hooks.after in block.gives.values())
        first, second = blocks[:end], blocks[end:]
        given = {name for block in first for name in block.gives.values()}
        self._prepared = prepared
        self._between = sorted({name for block in second for name in block.takes.values()} & given)
        self._outputs = [*prepared.outputs, *([OBJECTNESS] if prepared.proposes else [])]
        sizes = {name: values[name].shape for name in (IMAGE, *self._between)}
        links = [_link(hooks, block, {}) for block in first]
        self._first = open_session(_file(links, self._between, sizes), threads, "the first half")
        self._second = [
            open_session(_file([_link(hooks, block, rung) for block in second], self._outputs, sizes), threads, name)
            for name, rung in (("the second half", {}), *((f"rung {k}", one) for k, one in enumerate(hooks.rungs, 1)))
        ]

    def first(self, image: NDArray[np.float32]) -> Values:
        """What the second half takes, of (1, 3, H, W)."""
        return dict(zip(self._between, self._first.run(self._between, {IMAGE: image}), strict=True))

    def second(self, between: Values, rung: int, regions: Regions | None = None, floor: float = 0.0) -> Found:
        """What the model sees.

        Args:
            between: of `first`.
            rung: 0: none.
            regions: which of them are left out; None: none are.
            floor: objectness below which regions are left out.
        """
        session = self._second[rung]

        def run(least: NDArray[np.float32]) -> Values:
            fed = {**between, LEAST: least} if self._prepared.proposes else between
            return dict(zip(self._outputs, session.run(self._outputs, fed), strict=True))

        if regions is None or not self._prepared.proposes:
            return self._prepared.read(run(np.array(0, np.float32)))
        return self._prepared.read(regions.settle(floor, run))
