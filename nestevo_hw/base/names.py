"""Names that become parts of paths, checked in one place."""

import unicodedata
from collections.abc import Iterable

from nestevo_hw.base.errors import ConfigError

MOST_BYTES = 128
"""Of a name: file systems allow 255 for a file, and files put a window, a kind or an ending around it."""
_BESIDE_LETTERS = "-_"
_PREFIX = 16
"""Bytes before a name in a file's, such as "terminal-"."""


def check_name(name: str, what: str) -> None:
    """Refuse a name that could lead out of its folder or that no file can bear.

    Args:
        name: letters, digits, - and _ of any script.
        what: whose name it is, by its configuration key, for the message: "terminals.name".

    Raises:
        ConfigError: something else is in it, or too much of it.
    """
    length = len(name.encode("utf-8", "replace"))
    if length > MOST_BYTES:
        raise ConfigError(f"{what}: {name[:20]!r}... takes {length} bytes; use at most {MOST_BYTES}, it names files")
    if not all(letter.isalnum() or letter in _BESIDE_LETTERS for letter in name) or not name.strip(_BESIDE_LETTERS):
        raise ConfigError(f"{what}: got {name!r}; use letters, digits, - and _, it names files")


def check_distinct(names: Iterable[str], what: str, *, taken: Iterable[str] = ()) -> None:
    """Refuse names that some file systems hold for the same, such as North and north.

    Args:
        names: to compare with one another.
        what: whose names they are, by their configuration key.
        taken: names that stand for something else already.

    Raises:
        ConfigError: two names are as good as equal.
    """
    reserved, seen = {_folded(name): name for name in taken}, dict[str, str]()
    for name in names:
        folded = _folded(name)
        if folded in reserved:
            raise ConfigError(f"{what}: {name!r} stands for something else in a run; choose another name")
        if folded in seen:
            raise ConfigError(f"{what}: names must differ, also without regard to case, got {seen[folded]}, {name}")
        seen[folded] = name


def file_part(name: str) -> str:
    """A name that nobody has checked, such as one from a file edited by hand, as a part of a file's name."""
    part = "".join(letter if letter.isalnum() or letter in _BESIDE_LETTERS else "_" for letter in name)
    return part.encode()[: MOST_BYTES + _PREFIX].decode(errors="ignore")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def is_own(name: str) -> bool:
    """Whether a name is that of something in the user's own code, `package.module:name`."""
    module, _, attribute = name.partition(":")
    return all(part.isidentifier() for part in (*module.split("."), attribute))
