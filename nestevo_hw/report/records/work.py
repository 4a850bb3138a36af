"""Records of scheduled work, and of what went wrong with it."""

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from nestevo_hw.base.ranges import MOST_WINDOWS
from nestevo_hw.report.records.fields import Number, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRun:
    """One piece of scheduled work; times in seconds since the start of the run."""

    window: Window
    name: str
    kind: str
    terminal: str | None = None
    submitted_s: Number = math.nan
    started_s: Number = math.nan
    ended_s: Number = math.nan
    worker: Annotated[int, Field(strict=True, ge=0, lt=MOST_WINDOWS)] | None = None
    predicted_s: Number = math.nan
    predicted_bytes: Number = math.nan
    """Of a GPU's memory where the task could have one, else of main memory."""
    guessed: bool = False
    """Whether the predictions are first guesses, as nothing was known of its like."""
    peak_bytes: Number = math.nan
    """Of main memory."""
    gpu_peak_bytes: Number = math.nan
    """Of its GPU's memory, context included; NaN without one."""

    @property
    def held_bytes(self) -> float:
        """Peak of the memory that was predicted."""
        return self.peak_bytes if math.isnan(self.gpu_peak_bytes) else self.gpu_peak_bytes

    def __post_init__(self) -> None:
        if self.ended_s < self.started_s:
            raise ValueError(f"the task ends at {self.ended_s:g} s, before it starts at {self.started_s:g} s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A task that failed for good, and that the run outlived."""

    window: Window
    kind: str
    terminal: str | None = None
    """Terminal or group that the task served."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceeded:
    """A task that took more memory than it had reserved; the next like it reserves what it took."""

    window: Window
    kind: str
    terminal: str | None = None
    """Terminal or group that the task served."""
    reserved_bytes: Number = math.nan
    peak_bytes: Number = math.nan
    stopped: bool = False
    """Whether it was stopped, as the machine ran out of memory, to run again alone."""
