"""How a terminal behaves: what it sends, when it asks, where it keeps what it has."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from nestevo_hw.base.ranges import FRAMES, NOT_NEGATIVE, POSITIVE, SHARE, Range

MEGABYTES = Range(0.001, 1e6)


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalSettings:
    """Of one terminal."""

    name: str
    folder: Path
    """Of its state: models, frames that wait, what it knows of itself."""
    every_frames: Annotated[int, FRAMES] = 5
    """Of the source, one in so many is looked at for sending."""
    budget_mb: Annotated[float, MEGABYTES] = 20.0
    """Most bytes to send within a period, 1e6."""
    period_s: Annotated[float, POSITIVE] = 600.0
    """Over which the budget is spread, and the frames at the server are replaced, seconds."""
    spool_frames: Annotated[int, FRAMES] = 200
    """Most frames that wait to be sent; the oldest are dropped."""
    judged_frames: Annotated[int, Range(4, 1000)] = 32
    """Last sampled frames on which the model is judged."""
    margin: Annotated[float, SHARE] = 0.1
    """Share of its accuracy that must seem lost before it asks for evolution."""
    ask_every_s: Annotated[float, POSITIVE] | None = None
    """Ask so often, seconds, whatever it makes of its accuracy; None: only then."""
    poll_s: Annotated[float, POSITIVE] = 30.0
    """Time between two questions whether there is a new model, seconds."""
    patience_s: Annotated[float, NOT_NEGATIVE] = 60.0
    """Longest wait before the next try where the server does not answer, seconds."""
