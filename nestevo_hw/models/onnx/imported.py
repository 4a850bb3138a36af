"""An ONNX file as a torch module whose convolutions and linear layers can go onto the crossbar.

ONNX Runtime simplifies the graph (constants folded, BatchNorm folded into convolutions) and computes everything
between the layers with weights, so any operator it knows works, loops and NMS included; only those layers are torch
modules. No code is generated from the file.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from onnx import GraphProto, ModelProto, numpy_helper
from torch import Tensor, nn

from nestevo_hw.base.errors import InputError
from nestevo_hw.models.onnx.file import read_simplified
from nestevo_hw.models.onnx.layers import find_layers
from nestevo_hw.models.onnx.stages import Stage, Values, cut_stages

if TYPE_CHECKING:
    import onnxruntime as ort

_CHANNELS = (1, 3, 4)
"""Of images; what tells (C, H, W) from (H, W, C)."""
_TYPES = {
    "tensor(float)": torch.float32, "tensor(uint8)": torch.uint8, "tensor(int32)": torch.int32,
    "tensor(int64)": torch.int64, "tensor(bool)": torch.bool,
}  # fmt: skip
"""Of inputs that ONNX Runtime states."""


_KEEPING = frozenset((
    "Cast", "Concat", "Crop", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Resize", "Slice", "Split",
    "Squeeze", "Transpose", "Unsqueeze", "Upsample",
))  # fmt: skip
"""Operators that pass values on, wherever they put them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInput:
    """One input that an ONNX file takes, an image or another tensor."""

    name: str
    shape: tuple[int | None, ...]
    """As the file states it; None where any size will do."""
    dtype: torch.dtype = torch.float32
    white: float = 1.0
    """Value of a white pixel: 255 for a file that begins with subtracting or dividing by numbers of that order."""

    @property
    def channels_last(self) -> bool:
        """(N, H, W, C), as TensorFlow exports, instead of (N, C, H, W)."""
        return len(self.shape) in (3, 4) and self.shape[-1] in _CHANNELS and self.shape[-3] not in _CHANNELS

    @property
    def bare(self) -> bool:
        """One image without a batch dimension."""
        return len(self.shape) == 3 and (self.channels_last or self.shape[0] in _CHANNELS)

    @property
    def batch(self) -> int | None:
        """Images of one call; None for any number."""
        return 1 if self.bare else self.shape[0]

    @property
    def one(self) -> tuple[int | None, ...]:
        """Shape of one input; of an image (C, H, W), whatever the file's order."""
        one = self.shape if self.bare else self.shape[1:]
        return (one[2], one[0], one[1]) if self.channels_last else one

    @property
    def channels(self) -> int:
        """Of an image; 3 for a file that takes any number, or no images."""
        return (self.one[0] or 3) if len(self.one) == 3 else 3


class ImportedModel(nn.Module):
    """An ONNX graph whose layers with weights are torch modules, under the names they had before export.

    For inference only. The operators between the layers run on the CPU, wherever the layers are.

    Attributes:
        inputs: what the file takes, in its order.
    """

    inputs: tuple[ImageInput, ...]

    def __init__(
        self, inputs: Sequence[ImageInput], stages: Sequence[Stage], outputs: Sequence[str], constants: Values
    ) -> None:
        super().__init__()
        self.inputs, self._stages, self._outputs = tuple(inputs), tuple(stages), tuple(outputs)
        self._constants = constants

    @property
    def image_input(self) -> ImageInput:
        """The first input that is an image, or the first."""
        return next((entry for entry in self.inputs if len(entry.one) == 3), self.inputs[0])

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(H, W) in pixels that the file asks for; None if it takes any, or no images."""
        match self.image_input.one:
            case (_, int(height), int(width)):
                return height, width
        return None

    @torch.no_grad()
    def forward(self, x: Tensor | Mapping[str, Tensor]) -> Tensor | tuple[Tensor, ...]:
        """What the file puts out.

        Args:
            x: (N, C, H, W) for a file that takes images; of a file with several inputs a tensor for each by its name.
                A file with a fixed batch is called as often as needed.

        Raises:
            InputError: the file does not take such an input.
        """
        values = self._named(x)
        count = len(next(iter(values.values())))
        batch = next((entry.batch for entry in self.inputs if entry.batch is not None), None) or max(count, 1)
        whole = {name: _filled(value, -count % batch) for name, value in values.items()}
        size = count + -count % batch
        chunks = zip(*(value.split(batch) for value in whole.values()), strict=True)
        runs = [self._call(dict(zip(whole, chunk, strict=True))) for chunk in chunks]
        # An output may hold several rows for each image.
        joined = [torch.cat(parts) for parts in zip(*runs, strict=True)]
        kept = tuple(output[: len(output) * count // size] for output in joined)
        return kept[0] if len(kept) == 1 else kept

    @torch.no_grad()
    def outputs_of(self, image: Tensor) -> dict[str, Tensor]:
        """What the file puts out for one (1, C, H, W) image, by name.

        Raises:
            InputError: the file does not take such an image.
        """
        return dict(zip(self._outputs, self._call(self._named(image)), strict=True))

    def _named(self, x: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inputs by name, each as the file takes it but for the order of an image's channels."""
        given = {self.inputs[0].name: x} if isinstance(x, Tensor) else dict(x)
        names = [entry.name for entry in self.inputs]
        if sorted(given) != sorted(names):
            raise InputError(f"the ONNX file takes {', '.join(names)}, got {', '.join(map(str, given)) or 'nothing'}")
        for entry in self.inputs:
            self._check(entry, given[entry.name])
        return {name: given[name] for name in names}

    def _call(self, given: Mapping[str, Tensor]) -> list[Tensor]:
        """Outputs of one call of the graph, with at least one dimension each.

        Args:
            given: as many images (N, C, H, W) as the file takes at a time, by the names of its inputs.
        """
        values: Values = {}
        for entry in self.inputs:
            value = given[entry.name].to(entry.dtype)
            if entry.channels_last:
                value = value.permute(0, 2, 3, 1)
            values[entry.name] = value[0] if entry.bare else value
        device = next(iter(values.values())).device
        values |= {name: value.to(device) for name, value in self._constants.items()}
        for stage in self._stages:
            stage.run(values, self)
        return [torch.atleast_1d(values[name]) for name in self._outputs]

    def _check(self, entry: ImageInput, x: Tensor) -> None:
        wanted, got = entry.one, tuple(x.shape[1:])
        if len(wanted) != len(got) or any(w not in (None, g) for w, g in zip(wanted, got, strict=True)):
            text = " x ".join("any" if side is None else str(side) for side in wanted)
            name = "" if len(self.inputs) == 1 else f" as {entry.name}"
            raise InputError(f"the ONNX file takes inputs of {text}{name}, got {' x '.join(map(str, got))}")


class ImportedDetector(ImportedModel):
    """An ONNX graph from image to boxes, labels and scores; called as torchvision's detectors are."""

    @torch.no_grad()
    def forward(self, images: Iterable[Tensor]) -> list[dict[str, Tensor]]:  # type: ignore[override]
        """Detections of each image.

        Args:
            images: (C, H, W) each.

        Returns:
            One dictionary an image: boxes (K, 4) xyxy in pixels, labels (K,) int64, scores (K,).

        Raises:
            InputError: the file does not take such an image.
        """
        found = []
        for image in images:
            values = self._named(image[None])
            found.append(dict(zip(("boxes", "labels", "scores"), self._call(values), strict=True)))
        return found


def import_onnx(path: Path) -> ImportedModel:
    """Read an ONNX file.

    Args:
        path: file with an image or other tensors as inputs, in float32, uint8 or whole numbers. Weights stored as
            float16 and cast in the file will do.

    Returns:
        The model in eval mode; an `ImportedDetector` if it puts out boxes, labels and scores of one image.

    Raises:
        InputError: the file is missing, corrupt, quantised, without weights, or takes inputs of another type.
    """
    graph, session = read_simplified(path)
    try:
        inputs = tuple(_input(entry, graph) for entry in session.get_inputs())
        if not inputs:
            raise InputError("it takes no input; export it with one")
        layers = find_layers(graph.graph)
        if not layers.modules:
            raise InputError("it has no convolution or linear layer with constant weights")
        stages = cut_stages(graph, layers.nodes)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    detections = _detections(session) if len(inputs) == 1 and inputs[0].batch == 1 else None
    outputs = detections or tuple(entry.name for entry in session.get_outputs())
    known = [tensor for tensor in graph.graph.initializer if tensor.name in outputs]
    constants = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in known}
    model = (ImportedDetector if detections else ImportedModel)(inputs, stages, outputs, constants)
    for name, module in layers.modules.items():
        _attach(model, name, module)
    return model.eval()


def _input(entry: "ort.NodeArg", model: ModelProto) -> ImageInput:
    if entry.type not in _TYPES:
        raise InputError(f"expected float32 input but {entry.name!r} is {entry.type}; export it in float32 or uint8")
    if not entry.shape:
        raise InputError(f"input {entry.name!r} states no shape; export the model with one")
    shape = tuple(side if isinstance(side, int) and side > 0 else None for side in entry.shape)
    pixels = _TYPES[entry.type] is torch.uint8
    white = 255.0 if pixels else _white(model.graph, entry.name)
    return ImageInput(name=entry.name, shape=shape, dtype=_TYPES[entry.type], white=white)


def _filled(x: Tensor, missing: int) -> Tensor:
    """`x` with its last entry repeated as often as is missing to a whole batch."""
    return torch.cat([x, x[-1:].expand(missing, *x.shape[1:])]) if missing else x


def _white(graph: GraphProto, image: str) -> float:
    constants = {tensor.name: tensor for tensor in graph.initializer}
    names = {image}
    for node in graph.node:
        if not names.intersection(node.input):
            continue
        factors = [np.abs(numpy_helper.to_array(constants[name])) for name in node.input if name in constants]
        match node.op_type, factors:
            case (operator, _) if operator in _KEEPING:
                names.update(node.output)
            case "BatchNormalization", [_, _, mean, _] if mean.max() >= 2.0:
                return 255.0
            case (("Add" | "Sub"), [offset]) if offset.max() >= 2.0:
                return 255.0
            case "Div", [divisor] if divisor.min() >= 20.0:
                return 255.0
            case "Mul", [factor] if factor.max() <= 0.05:
                return 255.0
    return 1.0


def _detections(session: "ort.InferenceSession") -> tuple[str, str, str] | None:
    """Names of the outputs that are boxes (K, 4), labels (K,) and scores (K,), if there is just one of each."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for entry in session.get_outputs():
        sides = tuple(side if isinstance(side, int) else None for side in entry.shape)[1:]
        found.setdefault((entry.type, *sides), []).append(entry.name)
    kinds = (("tensor(float)", 4), ("tensor(int64)",), ("tensor(float)",))
    if any(len(found.get(kind, ())) != 1 for kind in kinds):
        return None
    boxes, labels, scores = (found[kind][0] for kind in kinds)
    return boxes, labels, scores


def _attach(model: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module under a dotted name."""
    *parents, last = name.split(".")
    for part in parents:
        if part not in dict(model.named_children()):
            model.add_module(part, nn.Module())
        model = model.get_submodule(part)
    model.add_module(last, module)
