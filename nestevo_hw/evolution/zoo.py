"""Model zoo: a terminal's earlier models, tried before anything is trained when its scene may have come back."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from nestevo_hw.base.ranges import FRAMES, SHARE, Range
from nestevo_hw.models.checkpoint import load_model
from nestevo_hw.tasks.supervision import Supervision
from nestevo_hw.tasks.task import VisionTask, headline


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooConfig:
    """How many earlier models are kept, and when one is taken."""

    size: Annotated[int, Range(0, 1000)] = 3
    """Earlier models of each terminal; 0 turns the zoo off. The oldest goes first."""
    margin: Annotated[float, SHARE] = 0.02
    """By which an earlier model must fit the teacher's labels better than the present one, of the headline score."""
    frames: Annotated[int, FRAMES] = 32
    """Uploaded frames it is tried on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which model the next training starts from."""

    index: int
    """Among the candidates; 0 is the present model."""
    scores: tuple[float, ...]
    """Agreement of each candidate with the teacher's labels; NaN where these hold no object."""


def choose_start(
    task: VisionTask,
    candidates: Sequence[Path],
    images: Tensor,
    supervision: Sequence[Supervision],
    config: ZooConfig,
    device: torch.device | None = None,
) -> Choice:
    """The candidate that agrees best with the teacher's labels, if clearly better than the first.

    Each is tried with the BatchNorm statistics of these frames, as training brings them anyway: without them any model
    of another scene looks poor, however much it has learned.

    Args:
        task: of the models.
        candidates: checkpoints, the present model first.
        images: (N, 3, H, W) uint8 uploaded frames.
        supervision: the teacher's, one a frame.
        config: margin and number of frames.
        device: where they are tried; the CPU if not given.
    """
    every = -(-len(images) // config.frames)
    labels = [s.annotation for s in supervision[::every]]
    scores = []
    for path in candidates:
        model, spec = load_model(path, device)
        task.re_estimate(model, images)
        scores.append(headline(task.score(task.predict(model, images[::every]), labels, len(spec.classes))))
    best = max(range(len(scores)), key=lambda i: scores[i])
    return Choice(index=best if scores[best] > scores[0] + config.margin else 0, scores=tuple(scores))
