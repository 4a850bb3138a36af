"""What every study does when it is stopped by Ctrl-C."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nestevo_hw.base.errors import NestEvoError


@contextmanager
def resumable(folder: Path, kept: Callable[[], str], *, also: str = "") -> Iterator[None]:
    """Run a block whose results are kept one by one; Ctrl-C ends it with one line on how to go on.

    Args:
        folder: where they are kept.
        kept: says how many there are, such as "3 of 8 runs".
        also: what else can be done, appended to the advice.

    Raises:
        NestEvoError: interrupted by Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        raise NestEvoError(
            f"stopped after {kept()}, which are kept in {folder}; run the same command with --resume to go on{also}"
        ) from None
