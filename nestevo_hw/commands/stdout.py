"""What goes to stdout, and what is said where it cannot be written."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any, TextIO, cast

from nestevo_hw.base.errors import OutputError


class _Named:
    """A stream whose failures are said to be those of stdout; the system names no file in them."""

    def __init__(self, stream: Any) -> None:  # noqa: ANN401 - of text, or its buffer
        self._stream = stream

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the stream has
        return getattr(self._stream, name)

    @property
    def buffer(self) -> "_Named":
        """To which click writes where the encoding is ASCII."""
        return _Named(self._stream.buffer)

    def write(self, written: str | bytes) -> Any:  # noqa: ANN401 - as the stream's
        with _told():
            return self._stream.write(written)

    def flush(self) -> None:
        with _told():
            self._stream.flush()


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # nobody reads on, which click and rich end quietly
        raise
    except OSError as error:
        raise OutputError.of(Path("stdout"), error) from error


@contextmanager
def named_stdout() -> Iterator[None]:
    """Within, a stdout that cannot be written is an `OutputError`."""
    if sys.stdout is None:  # it was closed before the start
        yield
        return
    with redirect_stdout(cast("TextIO", _Named(sys.stdout))):
        yield
