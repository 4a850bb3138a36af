"""A detector of somebody else's from frame to labelled boxes: fitted in, read by its adapter, suppressed."""

import ast
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.files import require_file
from nestevo_hw.models.onnx.export import open_session
from nestevo_hw.models.onnx.file import first_line
from nestevo_hw.models.onnx.foreign.adapter import Adapter, Taken, Thresholds
from nestevo_hw.models.onnx.foreign.heads import Candidates, Outputs, Seen

Network = Callable[[Tensor], Outputs]
"""From a (1, 3, h, w) float RGB or BGR frame as the adapter has it to the file's outputs by name."""
_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}
_DTYPES = {"float32": np.float32, "float16": np.float16, "uint8": np.uint8}
_MOST_SCORE = 1.001
"""Rounding may take a sigmoid above 1."""


class ForeignDetector:
    """Detections by a network that an adapter describes, one frame at a time.

    Args:
        network: what computes.
        adapter: how it is read.
        names: of the network's classes, in the order of its outputs.
        size: (H, W) of its input, pixels; None for that of each frame.

    Raises:
        ConfigError: the class map names a class that the network does not have.
    """

    def __init__(
        self, network: Network, adapter: Adapter, names: tuple[str, ...], size: tuple[int, int] | None
    ) -> None:
        self._network, self._adapter, self._names, self._size = network, adapter, names, size
        mapped = dict(adapter.class_map) or {name: name for name in names}
        unknown = next((name for name in mapped if name not in names), None)
        if unknown is not None:
            raise ConfigError(f"class map: the detector has no class {unknown!r}; it has {', '.join(names)}")
        self.classes: tuple[str, ...] = tuple(dict.fromkeys(mapped.values()))
        """Label k is classes[k - 1]."""
        known = [self.classes.index(mapped[name]) + 1 if name in mapped else 0 for name in names]
        self._label_of = torch.tensor([0, *known])

    @property
    def thresholds(self) -> Thresholds:
        """Of the adapter."""
        return self._adapter.thresholds

    def computed_by(self, network: Network) -> "ForeignDetector":
        """The same detector, computed by something else."""
        return ForeignDetector(network, self._adapter, self._names, self._size)

    def predict(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Detections of each of (N, 3, H, W) uint8 RGB frames, by falling score: boxes, labels and scores.

        Raises:
            InputError: the outputs have other shapes than the adapter says, or scores are none.
        """
        return [self._one(image) for image in images.cpu()]

    def _one(self, image: Tensor) -> dict[str, Tensor]:
        taken, height, width = self._adapter.input, image.shape[1], image.shape[2]
        size = self._size or (height, width)
        given, (left, top), (across, down) = fitted(image, taken, size)
        thresholds = self._adapter.thresholds
        seen = Seen(size=size, classes=len(self._names), least=thresholds.least_score)
        found = self._renamed(self._adapter.outputs.read(self._network(given), seen))
        if len(found.scores) and float(found.scores.max()) > _MOST_SCORE:
            raise InputError(f"scores go up to {float(found.scores.max()):.3g}, expected 0 to 1; if the file "
                             "leaves the activation out, name it in the adapter's outputs")  # fmt: skip
        boxes = (found.boxes - torch.tensor([left, top] * 2)) / torch.tensor([across, down] * 2)
        boxes = torch.minimum(boxes.clamp(min=0.0), torch.tensor([width, height] * 2, dtype=torch.float32))
        real = torch.isfinite(boxes).all(1) & (boxes[:, 2:] > boxes[:, :2]).all(1)
        boxes, labels, scores = boxes[real], found.labels[real], found.scores[real].clamp(max=1.0)
        kept = batched_nms(boxes, scores, labels, thresholds.overlap)[: thresholds.detections]
        return {"boxes": boxes[kept], "labels": labels[kept], "scores": scores[kept]}

    def _renamed(self, found: Candidates) -> Candidates:
        """With the labels of the class map, without its unnamed classes."""
        labels = self._label_of[found.labels]
        kept = labels > 0
        return replace(found, boxes=found.boxes[kept], labels=labels[kept], scores=found.scores[kept])


def open_foreign(path: Path, adapter: Adapter, *, told: str, threads: int = 1) -> ForeignDetector:
    """An ONNX file as ONNX Runtime runs it on the CPU, tried on a black frame.

    Args:
        path: of the file.
        adapter: how it is read.
        told: name of the adapter, for messages.
        threads: of ONNX Runtime.

    Raises:
        InputError: the file is missing, damaged, or not as the adapter says; with what was expected and found.
        ConfigError: its classes are not known, or the class map does not fit them.
    """
    session = _session(path, threads)
    names = adapter.classes or _named_classes(path)
    try:
        size = _stated(session, adapter)
        detector = ForeignDetector(_running(session, adapter), adapter, names, size)
        detector.predict(torch.zeros(1, 3, *(size or (64, 64)), dtype=torch.uint8))
    except InputError as error:
        raise InputError(f"{path} is no detector as adapter {told} has it: {error}") from error
    return detector


def fitted(image: Tensor, taken: Taken, size: tuple[int, int]) -> tuple[Tensor, tuple[int, int], tuple[float, float]]:
    """A frame as a network takes it, in (1, 3, h, w); how far it was moved, and how much it was enlarged, (x, y).

    Args:
        image: (3, H, W) uint8 RGB.
        taken: how.
        size: (h, w) of the network's input.
    """
    height, width = image.shape[1:]
    shown = size
    if taken.fit == "letterbox":
        ratio = min(size[0] / height, size[1] / width)
        shown = (min(size[0], max(1, round(height * ratio))), min(size[1], max(1, round(width * ratio))))
    top, left = ((size[0] - shown[0]) // 2, (size[1] - shown[1]) // 2) if taken.align == "centre" else (0, 0)
    pixels = image[None].float()
    if shown != (height, width):
        pixels = F.interpolate(pixels, shown, mode="bilinear", align_corners=False, antialias=True)
    below, right = size[0] - shown[0] - top, size[1] - shown[1] - left
    pixels = F.pad(pixels.clamp(0.0, 255.0), (left, right, top, below), value=float(taken.pad))
    pixels = pixels.flip(1) if taken.colour == "bgr" else pixels
    pixels = pixels.round() if taken.dtype == "uint8" else pixels * (taken.white / 255)
    if taken.mean:
        pixels = pixels - torch.tensor(taken.mean)[:, None, None]
    if taken.std:
        pixels = pixels / torch.tensor(taken.std)[:, None, None]
    return pixels, (left, top), (shown[1] / width, shown[0] / height)


def _session(path: Path, threads: int) -> Any:  # noqa: ANN401 - ONNX Runtime has no types
    require_file(path, "ONNX file")
    try:
        return open_session(path, threads=threads)
    except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
        raise InputError(f"{path} cannot be run by ONNX Runtime ({first_line(error)}); export it again") from error


def _running(session: Any, adapter: Adapter) -> Network:  # noqa: ANN401 - ONNX Runtime has no types
    (name,), outputs = [entry.name for entry in session.get_inputs()], list(adapter.outputs.names)
    taken = adapter.input

    def run(pixels: Tensor) -> Mapping[str, Tensor]:
        value = pixels if taken.layout.endswith("CHW") else pixels.permute(0, 2, 3, 1)
        value = value if taken.layout.startswith("N") else value[0]
        array = np.ascontiguousarray(value.numpy().astype(_DTYPES[taken.dtype]))
        try:
            found = session.run(outputs, {name: array})
        except Exception as error:  # ONNX Runtime's own exceptions share no base class but this
            raise InputError(f"it does not run on {name!r} {array.shape}: {first_line(error)}") from error
        return {name: torch.from_numpy(np.asarray(value)) for name, value in zip(outputs, found, strict=True)}

    return run


def _stated(session: Any, adapter: Adapter) -> tuple[int, int] | None:  # noqa: ANN401 - ONNX Runtime has no types
    """(H, W) at which the network sees frames; None for any.

    Raises:
        InputError: the file takes something else than the adapter says, or lacks an output that it names.
    """
    taken, inputs = adapter.input, session.get_inputs()
    if len(inputs) != 1:
        raise InputError(f"expected one input, found {', '.join(entry.name for entry in inputs) or 'none'}")
    (entry,) = inputs
    sides = tuple(side if isinstance(side, int) and side > 0 else None for side in entry.shape)
    by_letter = dict(zip(taken.layout, sides, strict=False))
    wanted: dict[str, int | None] = {"N": 1, "C": 3, "H": None, "W": None}
    wanted |= {} if taken.size is None else {"H": taken.size[0], "W": taken.size[1]}
    fits = len(sides) == len(taken.layout) and all(
        None in (wanted[letter], side) or wanted[letter] == side for letter, side in by_letter.items()
    )
    if not fits or _TYPES.get(entry.type) != taken.dtype:
        expected = ", ".join(str(wanted[letter] or letter) for letter in taken.layout)
        found = ", ".join("any" if side is None else str(side) for side in sides)
        raise InputError(f"input {entry.name!r}: expected {taken.dtype} ({expected}) as {taken.layout}, "
                         f"found {_TYPES.get(entry.type, entry.type)} ({found})")  # fmt: skip
    outputs = [output.name for output in session.get_outputs()]
    missing = next((name for name in adapter.outputs.names if name not in outputs), None)
    if missing is not None:
        raise InputError(f"expected an output {missing!r}, found {_shapes(session.get_outputs())}")
    height, width = by_letter["H"], by_letter["W"]
    return taken.size or (None if height is None or width is None else (height, width))


def _shapes(outputs: list[Any]) -> str:
    return ", ".join(f"{o.name!r} ({', '.join(map(str, o.shape))})" for o in outputs)


def _named_classes(path: Path) -> tuple[str, ...]:
    """Classes from a file's metadata: a list with commas, or a dictionary by number, as Ultralytics writes it.

    Raises:
        ConfigError: it names none.
    """
    metadata = {entry.key: entry.value for entry in onnx.load(path, load_external_data=False).metadata_props}
    text = metadata.get("names") or metadata.get("classes") or ""
    try:
        value = ast.literal_eval(text)  # reads Python's notation, and runs nothing
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        value = text.split(",")
    named = [value[key] for key in sorted(value, key=_number)] if isinstance(value, dict) else value
    names = tuple(str(name).strip() for name in named) if isinstance(named, list | tuple) else ()
    if not all(names) or not names or len(set(names)) < len(names):
        raise ConfigError(f"{path} does not name its classes; give them as classes = [..] in an adapter of your own")
    return names


def _number(key: object) -> int:
    """Of a class, which JSON can write as a text only; classes of other names come first, in the file's order."""
    return int(str(key)) if str(key).isdecimal() else -1
