"""Base, chosen path and models that were pruned as a whole, side by side: whole files, on frames of their own."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import torch
from torch import nn

from nestevo_hw.evolution.elastic.latency import whole_times
from nestevo_hw.models.checkpoint import load_model
from nestevo_hw.models.elastic.space import BranchPath
from nestevo_hw.models.elastic.store import load_supernet
from nestevo_hw.models.inputs import is_detector
from nestevo_hw.models.zoo import task_of
from nestevo_hw.studies.elastic.curve import Point
from nestevo_hw.studies.elastic.paired import difference, precision_of, share_right
from nestevo_hw.tasks.named import task_named
from nestevo_hw.terminals.elastic.edge import EdgeFrames
from nestevo_hw.terminals.runtime import Found

BASE, CHOSEN = "base", "chosen path"


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
    taken = whole_times(models, torch.from_numpy(frames.floats(0)), clock)
    detects = is_detector(whole.base)
    rates = {name: (precision_of if detects else share_right)(_seen(m, frames), frames) for name, m in models.items()}
    every = range(len(frames.images))
    return [
        Point(name=name, seconds=median(taken[name]), accuracy=rate(every),
              behind=difference(rates[CHOSEN], rate, len(frames.images)))
        for name, rate in rates.items()
    ]  # fmt: skip


def _seen(model: nn.Module, frames: EdgeFrames) -> list[Found]:
    predicted = task_named(task_of(model)).predict(model, torch.from_numpy(frames.images))
    return [Found(p["boxes"].numpy(), p["labels"].numpy(), p["scores"].numpy()) for p in predicted]
