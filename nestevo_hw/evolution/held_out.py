"""How well a checkpoint did on frames held out from its pre-training: told in its header, and compared before a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nestevo_hw.base.documents import json_line, parse_json, plain
from nestevo_hw.base.stats import or_nan
from nestevo_hw.base.tensors import read_header, read_tensors, write_tensors

_NOTE = "held_out"
_LEVEL = 0.03
"""Difference of scores within which two models are alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """A score, and on what."""

    frames: str
    """Checksum of the file of the frames; scores on other frames are not comparable."""
    score: float | None
    """Of the task's first metric; None where there is nothing to find."""


def note_held_out(checkpoint: Path, found: HeldOut) -> None:
    """Write it into a checkpoint's header."""
    header, tensors = read_tensors(checkpoint)
    write_tensors(checkpoint, tensors, {**header, _NOTE: json_line(plain(found))})


def held_out(checkpoint: Path) -> HeldOut | None:
    """What a checkpoint's header tells; None where nothing is told, as of weights from elsewhere.

    Raises:
        InputError: the file cannot be read, or its header is damaged.
    """
    told = read_header(checkpoint).get(_NOTE)
    return None if told is None else parse_json(told, HeldOut, f"{checkpoint}: {_NOTE}", advice="pre-train it again")


def weak_teacher(scores: Mapping[str, float]) -> str:
    """What to do about a teacher that knows less than a terminal that it is to teach, in a sentence; "" if it does not.

    Args:
        scores: on the same held-out frames, by name, of the teacher first; NaN where there is nothing to find.
    """
    teacher, best = next(iter(scores)), max(scores, key=lambda name: scores[name])
    if not scores[best] - scores[teacher] > _LEVEL:
        return ""
    return (
        f"teacher {teacher} has {scores[teacher]:.3f} on held-out frames and its terminal {best} {scores[best]:.3f}, "
        "so it has little to teach; pre-train it with more --steps or more frames, or --from weights that know more"
    )


def weak_checkpoint(teacher: Path, terminals: Sequence[Path]) -> str:
    """`weak_teacher` of checkpoints, as far as their headers tell scores on the same frames.

    Raises:
        InputError: as `held_out`.
    """
    own = held_out(teacher)
    if own is None:
        return ""
    others = {path: found for path in terminals if (found := held_out(path)) and found.frames == own.frames}
    return weak_teacher({str(path): or_nan(found.score) for path, found in {teacher: own, **others}.items()})
