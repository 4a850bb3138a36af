"""Tokens by which terminals are known: random, kept as hashes only."""

import hashlib
import hmac
import os
import re
import secrets
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

from nestevo_hw.base.documents import json_text, read_json
from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.files import read_text, replacing, write_secret
from nestevo_hw.base.locking import in_turn, is_unused
from nestevo_hw.server.store import DATABASE

TOKENS = "tokens.json"
VIEWER = "@status"
"""In place of a terminal's name: who may read the status; no terminal can be called so."""
_BYTES = 32
"""Of a token: nobody guesses one, so that a plain hash of it is enough."""
_TOKEN = re.compile(r"[\w-]{43}\s*")
"""A file with one."""


def new_token(folder: Path, name: str, *, to: Path | None = None) -> str:
    """Make a token for a terminal or `VIEWER`, and forget the one it had.

    Args:
        folder: of the server's state.
        name: whose it is.
        to: also write it into this file, for its owner alone; it may hold an earlier token, and nothing else.

    Raises:
        ConfigError: the folder, or the file, holds something else, or the file's folder does not exist.
        InputError: the tokens in it are damaged.
        OutputError: it cannot be kept or written; the one before still holds.
    """
    token = secrets.token_urlsafe(_BYTES)
    if to is not None:
        _check_file(to)
    with in_turn(folder):
        require_state(folder)
        known = _read(folder / TOKENS)
        with ExitStack() as both:  # the file is in its place once the server knows what is in it
            if to is not None:
                write_secret(both.enter_context(replacing(to, mode=0o600)), f"{token}\n")
            write_secret(folder / TOKENS, json_text({**known, name: _hashed(token)}))
    return token


def require_state(folder: Path) -> None:
    """Refuse a folder of something else than a server's state.

    Raises:
        ConfigError: neither tokens nor a server's database are in it.
    """
    if folder.is_dir() and not is_unused(folder) and not any((folder / name).exists() for name in (TOKENS, DATABASE)):
        raise ConfigError(f"{folder} holds something else than a server's state; choose another --state")


def _check_file(to: Path) -> None:
    """Refuse to write a token over something else, or where a mistyped path leads."""
    if not to.parent.is_dir():
        raise ConfigError(f"--to: no folder {to.parent}; make it, or correct the path")
    if os.path.lexists(to) and not _TOKEN.fullmatch(read_text(to, error=ConfigError)):
        raise ConfigError(f"--to: {to} holds something else than a token; choose another file")


class Tokens:
    """The tokens of a server; a file that has changed is read again, so a new token needs no restart."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / TOKENS
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        self._read_at: tuple[int, int] | None = None

    def are_of(self, name: str, token: str) -> bool:
        """Whether a token is that of a terminal; takes as long for any wrong one."""
        wanted = self._current().get(name, "")
        return hmac.compare_digest(_hashed(token), wanted)

    def has(self, name: str) -> bool:
        """Whether a token was made for a terminal."""
        return name in self._current()

    def _current(self) -> dict[str, str]:
        with self._lock:
            try:
                found = self._path.stat()
            except FileNotFoundError:
                return {}
            stamp = (found.st_mtime_ns, found.st_ino)
            if stamp != self._read_at:
                with suppress(InputError):  # a damaged file opens nothing new, and closes nothing
                    self._known, self._read_at = _read(self._path), stamp
            return self._known


def check_holder(name: str, remote: list[str]) -> None:
    """Refuse a token for nobody.

    Raises:
        ConfigError: no remote terminal is called so.
    """
    if name != VIEWER and name not in remote:
        raise ConfigError(f"no remote terminal {name!r}; choose from {', '.join([*remote, VIEWER])}")


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def _read(path: Path) -> dict[str, str]:
    return read_json(path, dict[str, str], advice="make new tokens") if os.path.lexists(path) else {}
