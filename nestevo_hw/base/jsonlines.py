"""JSON lines: one record a line, added as it comes, so that who is killed loses at most the line in the making."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nestevo_hw.base.documents import first_difference, json_line, parse_json, plain
from nestevo_hw.base.errors import ConfigError, InputError, OutputError
from nestevo_hw.base.files import read_text, write_text

if TYPE_CHECKING:
    from typing_extensions import TypeForm


def append_line(path: Path, record: object) -> None:
    """Add one record to the end of a file in one write; it is there when this returns.

    Args:
        path: of the file, which need not exist yet.
        record: what `plain` takes, without NaN.

    Raises:
        OutputError: the line cannot be written.
        ValueError: NaN or an infinity is in it.
    """
    line = f"{json_line(plain(record))}\n".encode()
    try:
        with path.open("ab", buffering=len(line) + 1) as file:  # room for the line, so that it goes out whole
            file.write(line)
    except OSError as error:
        raise OutputError.of(path, error) from error


def read_lines[T](path: Path, kind: "TypeForm[T]", *, growing: bool, advice: str = "") -> Iterator[tuple[str, T]]:
    """The records of a file with their places, "FILE, line 7", for messages; empty lines are none.

    Args:
        path: of the file.
        kind: of a record, as `parse` takes it.
        growing: whether someone may be writing, or was killed writing: then an end without a line break is no record.
        advice: what to do about a bad line, appended to the message.

    Raises:
        InputError: the file cannot be read, or a line is not such a record.
    """
    for place, line in _lines(path, growing=growing, advice=advice):
        yield place, parse_json(line, kind, place, advice=advice)


def _lines(path: Path, *, growing: bool, advice: str) -> Iterator[tuple[str, str]]:
    *lines, end = read_text(path, advice=advice).split("\n")
    for number, line in enumerate(lines if growing else [*lines, end], start=1):
        if line.strip():
            yield f"{path}, line {number}", line


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    identity: dict[str, Any]


_ANEW = "delete the file to start anew"


class Journal[T]:
    """Records of long work, each kept at once, behind a first line with all that they depend on.

    Work that was interrupted goes on with the records that are there; those of other work are refused.

    Args:
        path: of the file.
        kind: of a record, as `parse` takes it.
        identity: all that the records depend on, as `plain` takes it.
        holds: what the records are, for messages: "scores".
        resume: go on with what is there.
        replace: without `resume`, throw away records that are there instead of refusing.

    Raises:
        ConfigError: the file holds records that depend on something else, or some that are not to be resumed.
        InputError: the file is damaged.
    """

    def __init__(
        self, path: Path, kind: type[T], identity: object, *, holds: str, resume: bool, replace: bool = False
    ) -> None:
        self._path = path
        self.records: list[T] = []
        """Those that were there."""
        here = plain(identity)
        there, found = read_journal(path, kind) if os.path.lexists(path) else (None, [])
        if there is not None and not found and not resume:
            there = None  # work that failed before its first record holds nothing
        if there is not None and (difference := first_difference(there, here)):
            where = f"{path.parent} holds {holds} of another configuration"
            raise ConfigError(f"{where} ({difference}); choose another --out")
        if found and not (resume or replace):
            raise ConfigError(f"{path.parent} holds {holds} already; add --resume to go on, or choose another --out")
        if there is not None and resume:
            self.records = found
            _cut_torn_end(path)
        else:
            write_text(path, json_line({"identity": here}) + "\n")

    def append(self, record: T) -> None:
        """Keep a record, at once and for good."""
        append_line(self._path, record)


def read_journal[T](path: Path, kind: type[T]) -> tuple[dict[str, Any] | None, list[T]]:
    """What the records of a journal depend on, None where even that line is torn, and the records.

    Raises:
        InputError: the file is missing or damaged.
    """
    lines = list(_lines(path, growing=True, advice=_ANEW))
    if not lines:
        _check_torn_header(path)
        return None, []
    (first, header), *records = lines
    identity = parse_json(header, _Header, first, advice=_ANEW).identity
    advice = "delete this line and --resume"
    return identity, [parse_json(text, kind, place, advice=advice) for place, text in records]


def _check_torn_header(path: Path) -> None:
    """A file without a whole line is the beginning of a journal, or not ours to write over."""
    start, begun = json_line({"identity": {}})[:-2], read_text(path, advice=_ANEW)
    if not (begun.startswith(start) or start.startswith(begun)):
        raise InputError(f"{path} is none of this program's journals; {_ANEW}")


def _cut_torn_end(path: Path) -> None:
    """Take a last line that was not written to its end off a file, so that the next one begins on a line of its own."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        with path.open("r+b") as file:
            file.truncate(whole)
