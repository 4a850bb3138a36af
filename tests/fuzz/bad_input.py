"""One bad input, and how many are made of one command line."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from faults import Content


@dataclass(frozen=True, slots=True, kw_only=True)
class BadInput:
    """One command line that must be refused."""

    name: str
    words: tuple[str, ...]
    files: Mapping[str, Content] = field(default_factory=dict)
    says: str = ""
    """A regular expression that the message must match."""


def each(command: str, words: tuple[str, ...], path: str, faults: Mapping[str, Content],
          beside: Mapping[str, Content] | None = None) -> Iterator[BadInput]:  # fmt: skip
    """The same command with every fault of one file, and without the file."""
    for fault, content in faults.items():
        yield BadInput(
            name=f"{command}-{Path(path).name}-{fault}", words=words, files={**(beside or {}), path: content}
        )
    yield BadInput(name=f"{command}-{Path(path).name}-missing", words=words, files=beside or {})


def typed(command: str, first: tuple[str, ...], lines: Iterable[str],
           files: Mapping[str, Content] | None = None) -> Iterator[BadInput]:  # fmt: skip
    """The same command with different words behind it."""
    for line in lines:
        yield BadInput(name=f"{command} {line}"[:70], words=(*first, *line.split(" ")), files=files or {})
