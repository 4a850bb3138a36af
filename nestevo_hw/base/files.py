"""Whole files or none: everything is written to a temporary name and renamed."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from nestevo_hw.base.errors import OutputError


def _umask() -> int:
    """The process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


_UMASK = _umask()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` to write to; rename it on success, remove it on failure.

    Raises:
        OutputError: the file cannot be written; what stood in its place is as before.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            temporary.chmod(0o666 & ~_UMASK)  # safetensors writes for the owner alone
            temporary.replace(path)
        finally:
            with suppress(OSError):  # its folder may be what is missing
                temporary.unlink(missing_ok=True)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot write {path}: {reason}; free space or choose another place") from error


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, document: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write a JSON document to `path`, whole or not at all."""
    write_text(path, json.dumps(document, indent=2) + "\n")
