"""What several views and models found on frames, kept so that a later round can count their votes as well."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.tensors import read_tensors, write_tensors
from nestevo_hw.tasks.supervision import Supervision

View = Sequence[Mapping[str, Tensor]]
"""Predictions of one model in one view, frame by frame: boxes (D, 4), labels (D,) and scores (D,)."""
_KEYS = ("boxes", "labels", "scores")


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One round of labels: the words, and the views behind them."""

    words: Sequence[Supervision]
    views: Sequence[View]


def save_views(views: Sequence[View], path: Path) -> None:
    """Write views of the same frames to one safetensors file."""
    rows = [frame for view in views for frame in view]
    tensors = {key: torch.cat([row[key] for row in rows]) for key in _KEYS}
    tensors["counts"] = torch.tensor([[len(frame["labels"]) for frame in view] for view in views])
    write_tensors(path, tensors)


def load_views(path: Path) -> list[View]:
    """Read what `save_views` wrote.

    Raises:
        InputError: the file is missing or corrupt.
    """
    _, tensors = read_tensors(path)
    if "counts" not in tensors:
        raise InputError(f"{path} holds no views; delete it and run again")
    frames = tensors["counts"].shape[1]
    sizes = tensors["counts"].flatten().tolist()
    columns = [tensors[key].split(sizes) for key in _KEYS]
    rows = [dict(zip(_KEYS, values, strict=True)) for values in zip(*columns, strict=True)]
    return [rows[start : start + frames] for start in range(0, len(rows), frames)]
