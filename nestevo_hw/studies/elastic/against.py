"""Models that were pruned as a whole, on the frames and the device of a search, to compare its paths with."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nestevo_hw.models.checkpoint import load_model
from nestevo_hw.models.elastic.parts import IMAGE, OUTPUTS
from nestevo_hw.models.inputs import is_detector
from nestevo_hw.models.onnx.export import SingleFrame, any_floats, open_session, write_onnx
from nestevo_hw.models.zoo import task_of
from nestevo_hw.tasks.named import task_named
from nestevo_hw.terminals.elastic.edge import EdgeFrames
from nestevo_hw.terminals.elastic.selecting import median_time
from nestevo_hw.terminals.judging import mean_precision, same_class
from nestevo_hw.terminals.runtime import Found


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A model on this device."""

    name: str
    seconds: float
    """Median time of a frame, measured."""
    accuracy: float


def measure_models(checkpoints: list[Path], frames: Path, most: int, clock: Callable[[], float]) -> list[Point]:
    """Measure models on the frames that a search scores paths on.

    Args:
        checkpoints: of models of the same task.
        frames: file of labelled frames.
        most: of them, evenly spread, as `EdgeFrames.read` chooses them.
        clock: of seconds.

    Raises:
        InputError: a file is missing or damaged.
    """
    edge = EdgeFrames.read(frames, most=most)
    images = torch.from_numpy(edge.images)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for path in checkpoints:
            model, _ = load_model(path)
            seen = [Found(p["boxes"].numpy(), p["labels"].numpy(), p["scores"].numpy())
                    for p in task_named(task_of(model)).predict(model, images)]  # fmt: skip
            rate = mean_precision if is_detector(model) else same_class
            seconds = _time(model, images[:1].float() / 255, Path(folder) / "model.onnx", clock)
            found.append(Point(name=path.stem, seconds=seconds, accuracy=rate(seen, edge.truth)))
    return found


def _time(model: nn.Module, images: Tensor, file: Path, clock: Callable[[], float]) -> float:
    """Of one image, by ONNX Runtime on one thread."""
    detects = is_detector(model)
    whole: nn.Module = SingleFrame(model) if detects else model
    given = images[0] if detects else images
    outputs = OUTPUTS["detection" if detects else "classification"]
    several = {name: {0: "detections"} for name in outputs if detects}
    with any_floats(whole):
        write_onnx(whole, (given,), file, inputs=(IMAGE,), outputs=outputs, dynamic=several)
    session, taken = open_session(file), {IMAGE: np.ascontiguousarray(given.numpy())}
    return median_time(lambda: session.run(None, taken), clock)
