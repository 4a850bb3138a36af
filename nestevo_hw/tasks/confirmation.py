"""How labels are confirmed, and views of the same frames by the members of an ensemble."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.ranges import NOT_NEGATIVE, SHARE, Range
from nestevo_hw.base.tensors import read_tensors, write_tensors
from nestevo_hw.tasks.predictions import Prediction
from nestevo_hw.tasks.supervision import Supervision

ENLARGED_STATISTICS = 32
"""Enlarged frames, evenly from those at hand, that give BatchNorm statistics of enlarged frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationConfig:
    """How detections are confirmed before they become pseudo-labels; each part can be left out."""

    amplify: Annotated[float, Range(1, 100)] = 2.0
    """Background subtraction: all models see frames in which what differs from the background has this many times the
    contrast, and streaks of rain are gone; 1 leaves frames as they are, and so do a camera that moves and frames of
    less than five seconds. Finds what is faint."""
    mirror: bool = True
    """Test-time augmentation: the teacher sees the mirrored frames, too."""
    zoom: Annotated[float, Range(1, 8)] = 1.5
    """Test-time augmentation: the teacher sees frames enlarged by this factor, too; 1 leaves it out. Finds small
    objects."""
    ensemble: bool = True
    """Further models of the scene, such as the terminal's, detect on the plain frames."""
    overlap: Annotated[float, Range(0, 1, above=True)] = 0.55
    """IoU from which on detections of two views are one object (weighted boxes fusion)."""
    tracking_share: Annotated[float, SHARE] = 0.3
    """Share of an object's score that comes from its track in neighbouring frames, 0 to 1; 0 leaves it out."""
    tracking_gap_s: Annotated[float, NOT_NEGATIVE] = 1.0
    """Seconds between two frames up to which objects are tracked from one to the next."""
    high_confidence: Annotated[float, SHARE] = 0.4
    """Fused score from which on a detection is an object; `LabelConfig.high_confidence` is for one detector's."""
    low_confidence: Annotated[float, SHARE] = 0.2
    """From here up to `high_confidence` it is neither object nor background."""

    def teacher_passes(self, frames: int) -> float:
        """Forward passes of the teacher over a number of frames; one of an enlarged frame counts by its area.

        One for each view, of which the plain one gives soft targets as well, and another for the BatchNorm statistics
        of some enlarged ones.
        """
        enlarged_area = self.zoom**2 if self.zoom > 1.0 else 0.0
        enlarged = frames + min(frames, ENLARGED_STATISTICS)
        return frames * (1.0 + self.mirror) + enlarged * enlarged_area

    def __post_init__(self) -> None:
        if self.low_confidence > self.high_confidence:
            raise ConfigError(
                "need confirmation.low_confidence <= confirmation.high_confidence, "
                f"got {self.low_confidence} and {self.high_confidence}"
            )


View = Sequence[Prediction]
"""Predictions of one model in one view, frame by frame."""
_KEYS = ("boxes", "labels", "scores")


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRound:
    """One round of labels: the supervision, and the views behind it, which a later round counts as well."""

    supervision: Sequence[Supervision]
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
