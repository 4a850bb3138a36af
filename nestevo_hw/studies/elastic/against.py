"""Base, chosen path and models that were pruned as a whole, side by side: whole files, on frames of their own."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from nestevo_hw.models.checkpoint import load_model
from nestevo_hw.models.elastic.parts import IMAGE, OUTPUTS
from nestevo_hw.models.elastic.space import BranchPath
from nestevo_hw.models.elastic.store import load_supernet
from nestevo_hw.models.inputs import is_detector
from nestevo_hw.models.onnx.export import SingleFrame, any_floats, open_session, write_onnx
from nestevo_hw.models.zoo import task_of
from nestevo_hw.studies.elastic.paired import Difference, difference, precision_of, share_right
from nestevo_hw.tasks.named import task_named
from nestevo_hw.terminals.elastic.edge import EdgeFrames
from nestevo_hw.terminals.elastic.latency import measure
from nestevo_hw.terminals.runtime import Found

BASE, CHOSEN = "base", "chosen path"
_ROUNDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A model on this device, exported as one file."""

    name: str
    seconds: float
    """Median time of a frame, measured."""
    accuracy: float
    behind: Difference
    """Accuracy of the chosen path less this one's."""


def side_by_side(
    supernet: Path, path: BranchPath, checkpoints: Sequence[Path], frames: EdgeFrames, clock: Callable[[], float]
) -> list[Point]:
    """Measure the base, a path and other models, taking turns.

    Args:
        supernet: file of the supernet.
        path: through it.
        checkpoints: of other models of the same task.
        frames: to score on; if the comparison is to be fair, the search has not seen them.
        clock: of seconds.

    Raises:
        InputError: a file is missing or damaged.
    """
    whole, _ = load_supernet(supernet)
    models = {BASE: whole.model(whole.space.base), CHOSEN: whole.model(path)}
    models |= {file.stem: load_model(file)[0] for file in checkpoints}
    seconds = _times(models, torch.from_numpy(frames.floats(0)), clock)
    detects = is_detector(whole.base)
    rates = {name: (precision_of if detects else share_right)(_seen(m, frames), frames) for name, m in models.items()}
    every = range(len(frames.images))
    return [
        Point(name=name, seconds=seconds[name], accuracy=rate(every),
              behind=difference(rates[CHOSEN], rate, len(frames.images)))
        for name, rate in rates.items()
    ]  # fmt: skip


def _seen(model: nn.Module, frames: EdgeFrames) -> list[Found]:
    predicted = task_named(task_of(model)).predict(model, torch.from_numpy(frames.images))
    return [Found(p["boxes"].numpy(), p["labels"].numpy(), p["scores"].numpy()) for p in predicted]


def _times(models: Mapping[str, nn.Module], images: Tensor, clock: Callable[[], float]) -> dict[str, float]:
    """Of one image, by ONNX Runtime on one thread."""
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: _run_of(model, images, Path(folder) / "model.onnx") for name, model in models.items()}
    return measure(runs, rounds=_ROUNDS, clock=clock)


def _run_of(model: nn.Module, images: Tensor, file: Path) -> Callable[[], object]:
    detects = is_detector(model)
    whole: nn.Module = SingleFrame(model) if detects else model
    given = images[0] if detects else images
    outputs = OUTPUTS["detection" if detects else "classification"]
    with any_floats(whole):
        write_onnx(whole, (given,), file, inputs=(IMAGE,), outputs=outputs,
                   dynamic={name: {0: "detections"} for name in outputs if detects})  # fmt: skip
    session, taken = open_session(file), {IMAGE: np.ascontiguousarray(given.numpy())}
    return lambda: session.run(None, taken)
