"""Outputs of other people's detectors, by kind: from raw tensors to scored boxes, before suppression."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.ranges import SHARE, Range

Outputs = Mapping[str, Tensor]
"""Of one frame, by name, the dimension of the batch included where the file has one."""
BoxFormat = Literal["xyxy", "xywh", "cxcywh"]
"""Corners; left, top, width and height; centre, width and height."""
Activation = Literal["none", "sigmoid", "softmax"]
"""What makes scores of 0 to 1 of what the file gives."""
_STRIDE = Range(1, 1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the network was given, which outputs are read against."""

    size: tuple[int, int]
    """(H, W) of its input, pixels."""
    classes: int
    least: float
    """Scores below this are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Scored boxes, any number for an object."""

    boxes: Tensor
    """(K, 4) x1 y1 x2 y2 in pixels of the network's input."""
    labels: Tensor
    """(K,) int64, 1 to the number of classes."""
    scores: Tensor
    """(K,) in 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """Boxes of G places beside scores of every class: `boxes` (1, G, 4) and `scores` (1, G, C)."""

    kind: Literal["scored"]
    boxes: str
    scores: str
    box: BoxFormat = "xyxy"
    relative: bool = False
    """Boxes are shares of the input's sides, not pixels."""
    activation: Activation = "none"
    background: Literal["none", "first", "last"] = "none"
    """Which score is that of no object."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the outputs that it reads."""
        return self.boxes, self.scores

    def read(self, outputs: Outputs, seen: Seen) -> Candidates:
        """Every class at every place.

        Raises:
            InputError: outputs of other shapes.
        """
        columns = seen.classes + (self.background != "none")
        boxes, scores = _table(outputs, self.boxes, 4), _table(outputs, self.scores, columns)
        _same_length({self.boxes: boxes, self.scores: scores})
        scores = _activated(scores, self.activation)
        kept = {"none": scores, "first": scores[:, 1:], "last": scores[:, :-1]}[self.background]
        return _every_class(_corners(boxes, self.box, self.relative, seen), kept, seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """One output with box and scores of G places side by side, as YOLOv5 (with objectness) and YOLOv8 have it."""

    kind: Literal["dense"]
    output: str
    objectness: bool = False
    """Behind the box stands a score for any object, which the classes' are multiplied by."""
    places: Literal["first", "last"] = "last"
    """(1, G, 4 + C) or (1, 4 + C, G)."""
    box: BoxFormat = "cxcywh"
    relative: bool = False
    activation: Activation = "none"

    @property
    def names(self) -> tuple[str, ...]:
        """Of the output that it reads."""
        return (self.output,)

    def read(self, outputs: Outputs, seen: Seen) -> Candidates:
        """Every class at every place.

        Raises:
            InputError: an output of another shape.
        """
        first = 4 + self.objectness
        table = _table(outputs, self.output, first + seen.classes, turned=self.places == "last")
        scores = _activated(table[:, first:], self.activation)
        if self.objectness:
            scores = scores * _activated(table[:, 4:5], self.activation)
        return _every_class(_corners(table[:, :4], self.box, self.relative, seen), scores, seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Detections after suppression: `output` (1, K, 6) or (K, 6), each a box, its score and its class."""

    kind: Literal["rows"]
    output: str
    box: BoxFormat = "xyxy"
    relative: bool = False
    first_class: Annotated[int, Range(0, 1)] = 0
    """Number of the first class."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the output that it reads."""
        return (self.output,)

    def read(self, outputs: Outputs, seen: Seen) -> Candidates:
        """The rows; those of other classes fill a fixed number up and are left out.

        Raises:
            InputError: an output of another shape.
        """
        rows = _table(outputs, self.output, 6)
        boxes = _corners(rows[:, :4], self.box, self.relative, seen)
        return _known(boxes, rows[:, 5].round().long() - self.first_class + 1, rows[:, 4], seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Separate:
    """Detections after suppression in three outputs: `boxes` (K, 4), `labels` (K,) and `scores` (K,)."""

    kind: Literal["separate"]
    boxes: str
    labels: str
    scores: str
    box: BoxFormat = "xyxy"
    relative: bool = False
    first_class: Annotated[int, Range(0, 1)] = 1
    """Number of the first class."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the outputs that it reads."""
        return self.boxes, self.labels, self.scores

    def read(self, outputs: Outputs, seen: Seen) -> Candidates:
        """The detections.

        Raises:
            InputError: outputs of other shapes.
        """
        boxes = _table(outputs, self.boxes, 4)
        labels, scores = (outputs[name].reshape(-1) for name in (self.labels, self.scores))
        _same_length({self.boxes: boxes, self.labels: labels, self.scores: scores})
        boxes = _corners(boxes, self.box, self.relative, seen)
        return _known(boxes, labels.long() - self.first_class + 1, scores.float(), seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """A grid of cells for each stride, whose boxes are distributions over distances to the four sides, in cells.

    NanoDet's raw heads, and all of generalised focal loss (Li et al., 2020). `scores` and `distances` name an output
    for each stride, (1, G, C) and (1, G, 4 bins) or with cells as (1, C, h, w); one of each is for all cells in a row,
    and where both are the same output, the scores stand first.
    """

    kind: Literal["distribution"]
    scores: tuple[str, ...]
    distances: tuple[str, ...]
    strides: tuple[Annotated[int, _STRIDE], ...] = (8, 16, 32)
    bins: Annotated[int, Range(2, 64)] = 8
    """Of a distribution: distances of 0 to bins - 1 cells."""
    centre: Annotated[float, SHARE] = 0.5
    """Where in a cell distances start: 0.5 in its middle, 0 in its corner."""
    activation: Activation = "none"

    @property
    def names(self) -> tuple[str, ...]:
        """Of the outputs that it reads."""
        return tuple(dict.fromkeys((*self.scores, *self.distances)))

    def read(self, outputs: Outputs, seen: Seen) -> Candidates:
        """Every class at every cell.

        Raises:
            InputError: outputs of other shapes.
        """
        cells = torch.cat([_cells(seen.size, stride, self.centre) for stride in self.strides])
        scores, distances = self._tables(outputs, seen)
        _same_length({" + ".join(self.scores): scores, " + ".join(self.distances): distances, "the cells": cells})
        bins = torch.arange(self.bins, dtype=torch.float32)
        sides = distances.unflatten(1, (4, self.bins)).softmax(2) @ bins * cells[:, 2:]
        boxes = torch.cat([cells[:, :2] - sides[:, :2], cells[:, :2] + sides[:, 2:]], 1)
        return _every_class(boxes, _activated(scores, self.activation), seen)

    def _tables(self, outputs: Outputs, seen: Seen) -> tuple[Tensor, Tensor]:
        """(G, C) scores and (G, 4 bins) distances of all strides."""
        sides = 4 * self.bins
        if self.scores == self.distances:
            whole = torch.cat([_table(outputs, name, seen.classes + sides) for name in self.scores])
            return whole[:, : seen.classes], whole[:, seen.classes :]
        scores = [_table(outputs, name, seen.classes) for name in self.scores]
        return torch.cat(scores), torch.cat([_table(outputs, name, sides) for name in self.distances])


Head = Scored | Dense | Rows | Separate | Distribution


def _table(outputs: Outputs, name: str, columns: int, *, turned: bool = False) -> Tensor:
    """(G, columns) float32 of an output (1, G, columns) or without the 1; of (1, columns, G), or a grid, if it is that.

    Raises:
        InputError: it has another shape.
    """
    output = outputs[name]
    whole = output.reshape(output.shape[1:]) if output.ndim > 2 and output.shape[0] == 1 else output
    if whole.ndim == 3 and whole.shape[0] == columns:
        whole, turned = whole.flatten(1), True
    if whole.ndim != 2 or whole.shape[0 if turned else 1] != columns:
        expected = f"({columns}, places)" if turned else f"(places, {columns})"
        raise InputError(f"output {name!r}: expected {expected}, found {tuple(output.shape)}")
    return (whole.T if turned else whole).float()


def _same_length(tables: Mapping[str, Tensor]) -> None:
    if len({len(table) for table in tables.values()}) > 1:
        found = ", ".join(f"{len(table)} in {name}" for name, table in tables.items())
        raise InputError(f"expected as many places in all outputs, found {found}")


def _activated(scores: Tensor, activation: Activation) -> Tensor:
    if activation == "none":
        return scores
    return scores.sigmoid() if activation == "sigmoid" else scores.softmax(-1)


def _corners(boxes: Tensor, form: BoxFormat, relative: bool, seen: Seen) -> Tensor:
    """(K, 4) x1 y1 x2 y2 in pixels."""
    height, width = seen.size
    boxes = boxes * torch.tensor([width, height] * 2) if relative else boxes
    if form == "xyxy":
        return boxes
    first, size = boxes[:, :2], boxes[:, 2:]
    first = first - size / 2 if form == "cxcywh" else first
    return torch.cat([first, first + size], 1)


def _every_class(boxes: Tensor, scores: Tensor, seen: Seen) -> Candidates:
    """A candidate for each class of (G, C) scores that reaches the least."""
    places, classes = torch.where(scores >= seen.least)
    return Candidates(boxes=boxes[places], labels=classes + 1, scores=scores[places, classes])


def _known(boxes: Tensor, labels: Tensor, scores: Tensor, seen: Seen) -> Candidates:
    kept = (scores >= seen.least) & (labels >= 1) & (labels <= seen.classes)
    return Candidates(boxes=boxes[kept], labels=labels[kept], scores=scores[kept])


def _cells(size: tuple[int, int], stride: int, centre: float) -> Tensor:
    """(G, 3) x and y of where distances start, and the stride, row by row."""
    height, width = (-(-side // stride) for side in size)
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    places = (torch.stack([x, y], -1).reshape(-1, 2) + centre) * stride
    return torch.cat([places, torch.full_like(places[:, :1], stride)], 1)
