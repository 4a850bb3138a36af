"""What a table or figure of the paper is made of: figures of the paper beside ours, and what the paper claims."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

SAME_FOR_ALL = ("memory", "chip")
"""Experiments that draw nothing, so that one seed says all."""
Unit = Literal["score", "share", "s", "ms", "GB", "GFLOP", "nats", "number"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure."""

    name: str
    key: str
    """Of the value here, `experiment/..`."""
    unit: Unit = "score"
    paper: float | None = None
    """The same in the paper, in the same unit; None where it is not printed."""
    over: str = ""
    """Of a relative change, the key of what it is relative to: value / over - 1."""
    borrowed: bool = False
    """Whether it is the paper's alone: ours are compared with it, and there is none of ours beside it."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the values that it needs."""
        return (self.key, self.over) if self.over else (self.key,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """That one value is above another, as the paper says."""

    text: str
    more: str
    """Key of the value that should be above."""
    less: str = ""
    """Key of the other; left out, it is 0."""
    margin: float = 0.0
    """By which `more` may stay below `less` all the same: for claims that something costs nothing."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Of the values that it needs."""
        return (self.more, self.less) if self.less else (self.more,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A table or figure of the paper."""

    name: str
    """Short, for the command line."""
    title: str
    """What it is about."""
    says: str
    """What the paper shows in it."""
    how: str
    """How ours is obtained."""
    origin: str
    """One of `pages.parts.ORIGINS`: what ours are."""
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...] = ()
    lacks: str = ""
    """What of it cannot be had here, and why."""
    doubts: tuple[str, ...] = ()
    """What in the paper contradicts itself or what is known, one line each."""

    @property
    def heading(self) -> str:
        """As the paper numbers it."""
        return self.name.replace("-", " ").capitalize()

    def experiments(self) -> Iterator[str]:
        """Names of what has to be run for it, each once."""
        parts: tuple[Row | Claim, ...] = (*self.rows, *self.claims)
        keys = (key for part in parts for key in part.keys)
        yield from dict.fromkeys(key.split("/")[0] for key in keys)

    @property
    def draws(self) -> bool:
        """Whether another seed may give other figures."""
        return not set(self.experiments()) <= set(SAME_FOR_ALL)
