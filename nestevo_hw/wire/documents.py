"""The documents that a terminal and its server send one another as JSON."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import StringConstraints

from nestevo_hw.base.ranges import NOT_NEGATIVE, SHARE, Range

COUNT = Range(0, 2**53)
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""SHA-256 of a file, hexadecimal."""
Line = Annotated[str, StringConstraints(max_length=300)]
"""A short text of a terminal's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a terminal makes of its own accuracy, without any label."""

    remains: Annotated[float, SHARE]
    """Share that seems left since its model was last known to do well."""
    agreement: Annotated[float, SHARE]
    """As `wire.signals.Signals`."""
    confidence: Annotated[float, SHARE]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """A terminal says that it is there."""

    runs: Digest | None = None
    """The model that it runs; None before its first one."""
    tool: Line = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The model that a terminal should run."""

    version: Digest
    """Of its file."""
    window: int | None
    """That it is from; None for a first one."""
    file_bytes: Annotated[int, COUNT]


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """What the server has for a terminal."""

    offer: Offer | None
    """None until there is one."""
    pending: bool
    """Whether the terminal's request for evolution still waits, or is being served."""
    waiting_frames: Annotated[int, COUNT]
    """In its inbox."""
    wanted_frames: Annotated[int, COUNT]
    """Of an evolution."""
    frame_bytes: Annotated[int, COUNT]
    """Most that a frame may have; the answer to a larger one could be lost, as its rest is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A terminal asks for evolution."""

    estimate: Estimate | None = None
    """None where it asks by the clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a model on the terminal that fetched it."""

    version: Digest
    result: Literal["installed", "rolled-back"]
    runs: Digest | None
    """What the terminal runs now."""
    reason: Line = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request was not served, in one line."""

    error: str
    retry_s: Annotated[float, NOT_NEGATIVE] | None = field(default=None)
    """When to come again, seconds; None: not as it is."""


def too_large(most: int) -> str:
    """What is told of a frame of more bytes than a server takes."""
    return f"a frame may have {most / 1e6:g} MB; send smaller ones, or raise frame_mb of the server"
