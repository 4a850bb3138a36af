"""Progress on stderr: a bar on a terminal, nothing elsewhere."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from nestevo_hw.base.text import visible


@contextmanager
def progress_bar(total: int, first: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that advances the bar by one and names what has just ended.

    Args:
        total: number of steps expected.
        first: text shown until the first step has ended.
    """
    console = Console(stderr=True)
    columns = (SpinnerColumn(), BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(first, total=total)

        def advance(description: str) -> None:
            progress.update(bar, advance=1, description=visible(description))

        yield advance
