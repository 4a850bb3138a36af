"""A supernet as ONNX files for a terminal: what comes before the blocks, every branch, what comes behind them."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nestevo_hw.base.files import replacing
from nestevo_hw.models.checkpoint import ModelSpec
from nestevo_hw.models.elastic.chain import inputs_of, outputs_of
from nestevo_hw.models.elastic.parts import (
    FINISH,
    GIVEN,
    IMAGE,
    OUTPUTS,
    STEM,
    TAKEN,
    Kind,
    Parts,
    Shape,
    block_file,
    tap_name,
    write_parts,
)
from nestevo_hw.models.elastic.supernet import Supernet, as_inputs
from nestevo_hw.models.inputs import is_detector
from nestevo_hw.models.onnx.export import SingleFrame, any_floats, write_onnx
from nestevo_hw.models.onnx.manifest import sha256


class Stem(nn.Module):
    """All that a model does before its first block: (N, 3, H, W) floats in 0..1 to features."""

    def __init__(self, supernet: Supernet) -> None:
        super().__init__()
        self.base, self._first = supernet.base, supernet.chain.names[:1]

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, h, w)."""
        return inputs_of(self.base, self._first, as_inputs(self.base, images))[0]


class _Given(nn.Module):
    """Gives what it was handed, in place of a block."""

    def __init__(self) -> None:
        super().__init__()
        self.output: Tensor | None = None

    def forward(self, _: Tensor) -> Tensor:
        assert self.output is not None
        return self.output


class Finish(nn.Module):
    """All that a model does with the outputs of tapped blocks and of the last one.

    Args:
        supernet: it is copied.
        size: (H, W) of the images, pixels.
    """

    def __init__(self, supernet: Supernet, size: tuple[int, int]) -> None:
        super().__init__()
        model = copy.deepcopy(supernet.base)
        names, blocks = supernet.chain.names, (*supernet.chain.taps, supernet.space.blocks - 1)
        for name in names:
            model.set_submodule(name, nn.Identity())
        self._given = [_Given() for _ in blocks]
        for block, given in zip(blocks, self._given, strict=True):
            model.set_submodule(names[block], given)
        self.model: nn.Module = SingleFrame(model) if is_detector(model) else model
        self._size = size

    def forward(self, *outputs: Tensor) -> Any:  # noqa: ANN401 - as the model
        """Boxes, labels and scores of the only frame, or logits (N, C)."""
        for given, output in zip(self._given, outputs, strict=True):
            given.output = output
        # What the stem makes of these pixels, nothing takes: they say how large the frame is.
        images = torch.zeros(len(outputs[0]), 3, *self._size)
        return self.model(images[0] if isinstance(self.model, SingleFrame) else images)


@torch.no_grad()
def export_parts(supernet: Supernet, spec: ModelSpec, folder: Path, image: Tensor) -> Parts:
    """Write a supernet's parts into a folder; its manifest is the last file written.

    Args:
        supernet: in eval mode, on the CPU.
        spec: of the base.
        folder: to write into.
        image: (3, H, W) floats in 0..1 of the size that all images will have.
    """
    folder.mkdir(parents=True, exist_ok=True)
    detects, chain, base = is_detector(supernet.base), supernet.chain, supernet.base
    inputs = as_inputs(base, image[None])
    taken, given = inputs_of(base, chain.names, inputs), outputs_of(base, chain.names, inputs)
    many = {} if detects else {0: "images"}
    kind: Kind = "detection" if detects else "classification"
    parts = Parts(
        kind=kind, architecture=spec.architecture, classes=spec.classes, space=supernet.space, taps=chain.taps,
        image=_shape(image[None]), taken=tuple(map(_shape, taken)), given=tuple(map(_shape, given)),
    )  # fmt: skip
    digests = {}

    def write(module: nn.Module, example: tuple[Tensor, ...], name: str, takes: list[str], gives: list[str]) -> None:
        several = dict.fromkeys((*takes, *gives), many)
        several |= {tensor: {0: "detections"} for tensor in gives if detects and name == FINISH}
        with replacing(folder / name) as temporary:
            write_onnx(module, example, temporary, inputs=takes, outputs=gives, dynamic=several)
        digests[name] = sha256(folder / name)

    stem = Stem(supernet)
    with any_floats(stem):
        write(stem, (image[None],), STEM, [IMAGE], [TAKEN])
    for branch in supernet.space.branches:
        write(supernet.block(branch), (taken[branch.start],), block_file(branch), [TAKEN], [GIVEN])
    finish = Finish(supernet, (image.shape[1], image.shape[2]))
    shown = tuple(given[block] for block in parts.finish_takes)
    write(finish, shown, FINISH, [tap_name(block) for block in parts.finish_takes], list(OUTPUTS[kind]))
    parts = replace(parts, sha256=digests)
    write_parts(folder, parts)
    return parts


def _shape(features: Tensor) -> Shape:
    _, channels, height, width = features.shape
    return channels, height, width
