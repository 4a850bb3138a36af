"""ONNX files that take a camera's frames as they are: bytes of any size, scaling and thresholds inside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import ModelProto, compose, numpy_helper
from torch import Tensor, nn

from nestevo_hw.models.onnx.export import SingleFrame, open_session, write_onnx
from nestevo_hw.models.onnx.manifest import SCORE, Colour, Manifest

FRAME, BATCH = "frame", "frames"
"""Names of what a detector and a classifier take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameModel:
    """A model as a function of frames that have been scaled already."""

    module: nn.Module
    """From (N, 3, h, w) floats in 0..1 to scores: of a detector boxes (K, 4) in pixels of its input, labels (K,) from
    1 and scores (K,) of the single frame; of a classifier logits (N, C)."""
    detects: bool
    least_score: float = 0.0
    """Below which the module itself reports nothing."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """What else the module leaves out, by name."""

    @property
    def input(self) -> str:
        """Name of what the file takes."""
        return FRAME if self.detects else BATCH

    @property
    def outputs(self) -> dict[str, str]:
        """What the file gives, in words, by name."""
        if not self.detects:
            return {
                "labels": "(frames,) int64, names in classes; 0 where no class reaches the score",
                "scores": "(frames,) float32, 0 to 1",
            }
        return {
            "boxes": "(detections, 4) float32, x1 y1 x2 y2 in pixels of the frame given",
            "labels": "(detections,) int64, names in classes",
            "scores": "(detections,) float32, 0 to 1, falling",
        }


def faster_rcnn(detector: Any) -> FrameModel:  # noqa: ANN401 - torchvision has no types
    """Of torchvision's Faster R-CNN."""
    heads = detector.roi_heads
    return FrameModel(
        module=_First(SingleFrame(detector)), detects=True, least_score=heads.score_thresh,
        thresholds={"overlap": heads.nms_thresh, "detections": heads.detections_per_img},
    )  # fmt: skip


class _First(nn.Module):
    """A function of one frame (3, h, w), of the only one of a batch."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Any:  # noqa: ANN401 - as the model
        return self.model(images[0])


class _Scaling(nn.Module):
    """Bytes of any size to floats (N, 3, h, w) in 0..1, RGB: stretched, each pixel the mean of its area.

    So are the frames of a run made from those of a file (`streams.sources`), bytes that they are.

    Args:
        size: (h, w).
        colour: order of the channels of the bytes.
    """

    def __init__(self, size: tuple[int, int], colour: Colour) -> None:
        super().__init__()
        self._size, self._reverse = size, colour == "bgr"

    def forward(self, frames: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Of (N, H, W, 3) the floats alone, of one (H, W, 3) also its W, H, W, H."""
        if frames.ndim == 3:
            height, width = (torch.as_tensor(side, dtype=torch.float32) for side in frames.shape[:2])
            return self._scaled(frames[None]), torch.stack([width, height, width, height])
        return self._scaled(frames)

    def _scaled(self, frames: Tensor) -> Tensor:
        height, width = self._size
        rows, columns = _areas(frames.shape[1], height), _areas(frames.shape[2], width)
        lines = (rows @ frames.float().flatten(2)).reshape(-1, height, frames.shape[2], 3)
        images = (columns @ lines).permute(0, 3, 1, 2)
        images = images[:, [2, 1, 0]] if self._reverse else images
        return ((images + 0.5).floor().clamp(0.0, 255.0) / 255).reshape(-1, 3, height, width)


def _areas(length: int, to: int) -> Tensor:
    """(to, length) share of each of a number of pixels in each of another number that covers the same side."""
    covered = length / to
    first = torch.arange(to)[:, None] * covered
    pixel = torch.arange(length)[None]
    overlap = (torch.minimum(pixel + 1.0, first + covered) - torch.maximum(pixel + 0.0, first)).clamp(min=0.0)
    return overlap / overlap.sum(1, keepdim=True)


class _Detections(nn.Module):
    """What is sure enough, in pixels of the frame; (h, w) `size` is the network's, `given` the frame's W, H, W, H."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self._own = torch.tensor([size[1], size[0]] * 2, dtype=torch.float32)

    def forward(
        self, score: Tensor, given: Tensor, boxes: Tensor, labels: Tensor, scores: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        sure = torch.where(scores >= score)[0]
        boxes = torch.minimum((boxes[sure] * (given / self._own)).clamp(min=0.0), given)
        return boxes, labels[sure], scores[sure]


class _Classes(nn.Module):
    """The likeliest class of each frame, where it is sure enough, and its probability."""

    def forward(self, score: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
        scores, labels = logits.softmax(-1).max(-1)
        return torch.where(scores >= score, labels + 1, 0), scores


def write_frame_model(
    model: FrameModel, path: Path, example: Tensor, *, colour: Colour, score: float, batched: bool
) -> None:
    """Write a model that takes frames as they are; nothing is checked but the file itself.

    The network is exported by itself, for frames of one size, as many can be in no other way; scaling goes before it
    and thresholds behind.

    Args:
        model: in eval mode, on the CPU.
        path: file to write.
        example: (3, h, w) uint8 frame of the size that all are scaled to.
        colour: order of the channels of the frames it will be given.
        score: below which a detection is left out, and a class is 0.
        batched: let a classifier take any number of frames; else one.
    """
    size = (int(example.shape[1]), int(example.shape[2]))
    image, frame = example[None].float() / 255, as_given(example, colour)
    frame = frame if model.detects else frame[None]
    with torch.no_grad():
        found = model.module(image)
    results: dict[str, Tensor] = (
        dict(zip(("boxes", "labels", "scores"), found, strict=True)) if model.detects else {"logits": found}
    )
    many = {0: "detections"} if model.detects else {0: "frames"} if batched else {}
    sides = {frame.ndim - 3: "height", frame.ndim - 2: "width"} | ({0: "frames"} if batched else {})
    scaled = ("scaled", "given") if model.detects else ("scaled",)
    before = _part(_Scaling(size, colour), {model.input: frame}, scaled, {model.input: sides}, path)
    own = tuple(f"network/{name}" for name in results)
    several = dict.fromkeys(own, many) | ({"image": {0: "frames"}} if batched else {})
    network = _part(model.module, {"image": image}, own, several, path)
    behind = _behind(model, results, size, many, path)
    _hold_score(behind, score)
    links = [(f"network/{name}", f"of/{name}") for name in results] + [(name, f"of/{name}") for name in scaled[1:]]
    onnx.save(_joined(before, network, behind, links), path)
    onnx.checker.check_model(str(path))


def _behind(
    model: FrameModel, results: Mapping[str, Tensor], size: tuple[int, int], many: Mapping[int, str], path: Path
) -> ModelProto:
    """What comes after the network, whose `results` on one frame it is traced with."""
    given = {"given": torch.ones(4)} if model.detects else {}
    inputs = {SCORE: torch.tensor(0.5)} | {f"of/{name}": value for name, value in (given | {**results}).items()}
    several = dict.fromkeys((*(f"of/{name}" for name in results), *model.outputs), many)
    module = _Detections(size) if model.detects else _Classes()
    return _part(module, inputs, tuple(model.outputs), several, path)


def _part(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: tuple[str, ...],
    dynamic: Mapping[str, Mapping[int, str]],
    path: Path,
) -> ModelProto:
    """A module as ONNX; the file is overwritten by the next one."""
    write_onnx(module, tuple(inputs.values()), path, inputs=tuple(inputs), outputs=outputs, dynamic=dynamic)
    return onnx.load(path)


def _joined(
    before: ModelProto, network: ModelProto, behind: ModelProto, links: Sequence[tuple[str, str]]
) -> ModelProto:
    """Three parts one after the other; the network's layers keep their names."""
    before = compose.add_prefix(before, "scaling/", rename_inputs=False, rename_outputs=False)
    behind = compose.add_prefix(behind, "report/", rename_inputs=False, rename_outputs=False, rename_initializers=False)
    whole = compose.merge_models(before, network, io_map=[("scaled", "image")])
    merged: ModelProto = compose.merge_models(whole, behind, io_map=list(links))
    return merged


def as_given(image: Tensor, colour: Colour) -> Tensor:
    """(H, W, 3) as a camera of that order gives a (3, H, W) RGB frame."""
    return (image.flip(0) if colour == "bgr" else image).permute(1, 2, 0).contiguous()


def _hold_score(model: ModelProto, score: float) -> None:
    """Have the file hold its threshold as a constant, in place of an input."""
    for entries in (model.graph.input, model.graph.initializer):
        for entry in [entry for entry in entries if entry.name == SCORE]:
            entries.remove(entry)
    model.graph.initializer.append(numpy_helper.from_array(np.array(score, dtype=np.float32), SCORE))


def describe(path: Path, manifest: Manifest) -> None:
    """Write a manifest's facts into the metadata of an ONNX file."""
    file = onnx.load(path)
    onnx.helper.set_model_props(file, manifest.metadata())
    onnx.save(file, path)


class OnnxFrames:
    """A file of `write_frame_model` run by ONNX Runtime on the CPU, one frame at a time and one thread.

    Args:
        path: of the file.
        colour: order of the channels that it takes.
        score: in place of its own threshold.
    """

    def __init__(self, path: Path, *, colour: Colour, score: float | None = None) -> None:
        source: Path | bytes = path
        if score is not None:
            file = onnx.load(path)
            _hold_score(file, score)
            source = file.SerializeToString()
        self._session, self._colour = open_session(source), colour
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]

    def predict(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Predictions of each of (N, 3, H, W) uint8 RGB frames; the class of a whole one is a box that fills it."""
        return [self._one(image) for image in images.cpu()]

    def takes_two(self, image: Tensor) -> bool:
        """Whether a classifier says of two frames at once what it says of each: some networks count on one."""
        frame = as_given(image, self._colour).numpy()
        pair = np.stack([frame, 255 - frame])
        try:
            both = self._session.run(self._outputs, {self._input: pair})
        except Exception:  # ONNX Runtime's own exceptions share no base class but this
            return False
        each = [self._session.run(self._outputs, {self._input: one[None]}) for one in pair]
        singly = [np.concatenate(values) for values in zip(*each, strict=True)]
        return all(a.shape == b.shape and np.allclose(a, b, atol=1e-3) for a, b in zip(both, singly, strict=True))

    def _one(self, image: Tensor) -> dict[str, Tensor]:
        frame = as_given(image, self._colour).numpy()
        given = frame[None] if self._input == BATCH else frame
        run = self._session.run(self._outputs, {self._input: given})
        found = {name: torch.from_numpy(value) for name, value in zip(self._outputs, run, strict=True)}
        whole = torch.tensor([[0.0, 0.0, image.shape[2], image.shape[1]]])
        return {"boxes": whole, **found}
