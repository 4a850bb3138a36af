"""A supernet's parts as stages of a dynamic model: which can be run on a crop, and where the detector's head begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from nestevo_hw.models.elastic.parts import FINISH, GIVEN, IMAGE, STEM, TAKEN, Parts, block_file, checked_file, tap_name
from nestevo_hw.models.elastic.space import Branch, BranchPath
from nestevo_hw.models.onnx.crops.geometry import Network
from nestevo_hw.models.onnx.crops.names import OBJECTNESS
from nestevo_hw.terminals.elastic.network import class_of
from nestevo_hw.terminals.runtime import Found

if TYPE_CHECKING:
    from onnx import ModelProto

START = "start"
"""What the first block takes; block k gives `tap_name(k)`."""
PYRAMID, PROPOSALS, HEAD = "pyramid", "proposals", "head"
Kind = Literal["features", "proposals", "objects"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StageModel:
    """A part of the model."""

    name: str
    model: bytes
    """An ONNX file; it takes crops, if there is a network."""
    takes: Mapping[str, str]
    """Names of tensors of the whole model by the part's own inputs."""
    gives: Mapping[str, str]
    network: Network | None
    """What it does with places, by its own names; None: it may see everything at once."""
    why_whole: str = ""
    """Of a stage without one."""
    kind: Kind = "features"
    """What comes out: features, proposed regions, or what the model sees."""
    most: int | None = None
    """Of proposals: regions that are given, if there are more."""
    joined_of: "tuple[StageModel, ...]" = ()
    """Blocks that it is joined of."""

    @property
    def blocks(self) -> "tuple[StageModel, ...]":
        """What it consists of: itself, unless it was joined."""
        return self.joined_of or (self,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """All stages of a path, in order, and the whole model as one."""

    parts: Parts
    path: BranchPath
    stages: tuple[StageModel, ...]
    fused: bytes
    """From `IMAGE`, and `LEAST` if regions are proposed, to the model's outputs, and `OBJECTNESS`."""

    @property
    def most_regions(self) -> int | None:
        """Regions that are proposed, if there are more; None if none are, or that is not known."""
        return next((stage.most for stage in self.stages if stage.kind == "proposals"), None)

    @property
    def proposes(self) -> bool:
        """Whether regions are proposed by a stage of its own."""
        return any(stage.kind == "proposals" for stage in self.stages)

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of what the model sees."""
        return tuple(self.stages[-1].gives.values())

    def read(self, values: Mapping[str, NDArray[Any]]) -> Found:
        """What the model sees, of its outputs among some values; nothing is shared with these."""
        given = [values[name] for name in self.outputs]
        if self.parts.kind == "detection":
            return Found(*map(np.array, given))
        return class_of(given[0][0], self.parts.image)


class Preparation:
    """The stages of paths through a folder's parts: what two paths share is prepared once.

    Args:
        folder: of the parts.
        parts: its manifest.
        join: make one stage of blocks in a row of whose outputs only the last one's is read elsewhere; else each block
            is one.
        cut: what a block gives that is read even so; "": nothing else.
    """

    def __init__(self, folder: Path, parts: Parts, *, join: bool = False, cut: str = "") -> None:
        self._folder, self._parts, self._join, self._cut = folder, parts, join, cut
        self._done: dict[str, list[tuple[StageModel, ModelProto]]] = {}
        """By file; of joined blocks by the name of their stage."""

    def path(self, path: BranchPath) -> Prepared:
        """The stages of a path of the parts' space.

        Raises:
            InputError: a file is missing, damaged or not as it was written.
        """
        stages = [*self._of(STEM, "stem", {IMAGE: IMAGE}, {TAKEN: START})]
        before = START
        for row in self._rows(path):
            after = tap_name(row[-1].end - 1)
            stages += self._blocks(row, before, after)
            before = after
        stages += self._of(FINISH, FINISH, {}, {})
        kept = tuple(stage for stage, _ in stages)
        return Prepared(parts=self._parts, path=path, stages=kept, fused=_fused(stages))

    def _rows(self, path: BranchPath) -> list[list[Branch]]:
        """Branches that are one stage each."""
        if not self._join:
            return [[branch] for branch in path]
        rows: list[list[Branch]] = [[]]
        for branch in path:
            rows[-1].append(branch)
            if branch.end - 1 in self._parts.finish_takes or tap_name(branch.end - 1) == self._cut:
                rows.append([])
        return [row for row in rows if row]

    def _blocks(self, row: Sequence[Branch], before: str, after: str) -> "list[tuple[StageModel, ModelProto]]":
        """One stage of a row of branches."""
        names = [before, *(tap_name(branch.end - 1) for branch in row)]
        each = [
            stage
            for branch, (taken, given) in zip(row, pairwise(names), strict=True)
            for stage in self._of(block_file(branch), f"block {branch.name}", {TAKEN: taken}, {GIVEN: given})
        ]
        if len(each) == 1:
            return each
        name = f"blocks {'+'.join(branch.name for branch in row)}"
        if name not in self._done:
            made, model = _stage(name, _joined(each, [after]), {before: before}, {after: after})
            self._done[name] = [(replace(made, joined_of=tuple(stage for stage, _ in each)), model)]
        return self._done[name]

    def _of(
        self, file: str, name: str, takes: Mapping[str, str], gives: Mapping[str, str]
    ) -> "list[tuple[StageModel, ModelProto]]":
        """The stages of a file; a branch takes and gives the same on every path."""
        if file not in self._done:
            model = _read(checked_file(self._folder, self._parts, file), pixels=file == STEM)
            self._done[file] = _finish(model, self._parts) if file == FINISH else [_stage(name, model, takes, gives)]
        return self._done[file]


def prepare(folder: Path, parts: Parts, path: BranchPath, *, join: bool = False, cut: str = "") -> Prepared:
    """The stages of one path; see `Preparation`."""
    return Preparation(folder, parts, join=join, cut=cut).path(path)


def _read(path: Path, *, pixels: bool) -> "ModelProto":
    from nestevo_hw.models.onnx.crops.cutting import read_part

    return read_part(path, lowest=0.0, highest=1.0) if pixels else read_part(path)


def _stage(
    name: str, model: "ModelProto", takes: Mapping[str, str], gives: Mapping[str, str],
    units: Mapping[str, int] | None = None,
) -> tuple[StageModel, "ModelProto"]:  # fmt: skip
    """A stage of features; `units` are those of `network_of`."""
    from nestevo_hw.models.onnx.crops.cutting import of_any_size
    from nestevo_hw.models.onnx.crops.reading import NotLocal, network_of

    try:
        network, file, why = network_of(model, units), of_any_size(model), ""
    except NotLocal as error:
        network, file, why = None, model.SerializeToString(), str(error)
    made = StageModel(name=name, model=file, takes=dict(takes), gives=dict(gives), network=network, why_whole=why)
    return made, model


def _finish(model: "ModelProto", parts: Parts) -> list[tuple[StageModel, "ModelProto"]]:
    """What comes behind the blocks, cut as far as it can be."""
    from nestevo_hw.models.onnx.crops.cutting import split_local
    from nestevo_hw.models.onnx.crops.reading import NotLocal
    from nestevo_hw.models.onnx.crops.regions import split_regions

    if parts.kind == "classification":
        return [_whole("classifier", model, "objects", "it gives one answer for all of an image")]
    sizes = [parts.given[block] for block in parts.finish_takes]
    largest = max(height for _, height, _ in sizes)
    units = {tap_name(k): round(largest / height) for k, (_, height, _) in zip(parts.finish_takes, sizes, strict=True)}
    try:
        local, rest = split_local(model)
    except NotLocal as error:
        return [_whole("finish", model, "objects", str(error))]
    if rest is None:
        return [_whole("finish", model, "objects", "it is not the end of a detector")]
    pyramid = _stage(PYRAMID, local, _same(local.graph.input), _same(local.graph.output), units)
    cut = split_regions(rest)
    if cut is None:
        return [pyramid, _whole("finish", rest, "objects", "no regions are proposed in it")]
    return [pyramid, _whole(PROPOSALS, cut.first, "proposals", "it compares all regions", cut.most),
            _whole(HEAD, cut.rest, "objects", "it compares all objects")]  # fmt: skip


def _whole(
    name: str, model: "ModelProto", kind: Kind, why: str, most: int | None = None
) -> tuple[StageModel, "ModelProto"]:
    stage = StageModel(
        name=name, model=model.SerializeToString(), takes=_same(model.graph.input), gives=_same(model.graph.output),
        network=None, why_whole=why, kind=kind, most=most,
    )  # fmt: skip
    return stage, model


def _same(entries: Any) -> dict[str, str]:  # noqa: ANN401 - protobuf's own list
    return {entry.name: entry.name for entry in entries}


def _fused(stages: "Sequence[tuple[StageModel, ModelProto]]") -> bytes:
    scores = [OBJECTNESS] if any(stage.kind == "proposals" for stage, _ in stages) else []
    whole: bytes = _joined(stages, [*stages[-1][0].gives.values(), *scores]).SerializeToString()
    return whole


def _joined(stages: "Sequence[tuple[StageModel, ModelProto]]", outputs: Sequence[str]) -> "ModelProto":
    """Stages as one graph, up to some of the tensors that they give."""
    from nestevo_hw.models.onnx.crops.joining import Link, joined

    return joined([Link(model=model, takes=stage.takes, gives=stage.gives) for stage, model in stages], outputs)
