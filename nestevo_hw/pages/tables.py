"""Tables that look alike on pages and on consoles, and printing without any markup in what is printed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

from nestevo_hw.base.text import visible
from nestevo_hw.pages.formats import DASH
from nestevo_hw.pages.parts import Pill

Cell = str | Pill
_STYLES = {"good": "green", "bad": "red", "wait": "yellow", "": ""}
_FIGURE = re.compile(r"[-+±x]? ?\d")
"""How a cell begins that holds a figure."""
_WORD_END = re.compile(r" (?!%)")
_SHORT = 40
"""Names up to here are not broken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of plain text below their heads; nothing in them is markup."""

    heads: tuple[str, ...]
    rows: Sequence[Sequence[Cell]]
    title: str = ""
    """Above it on a console; on a page it stands below a heading."""
    note: str = ""
    """Below it."""
    marked: frozenset[int] = frozenset()
    """Numbers of the rows to stress."""

    def filled(self) -> "Table":
        """The same without columns in which no row says anything."""
        kept = [i for i, _ in enumerate(self.heads) if any(row[i] not in ("", DASH) for row in self.rows)]
        rows = [tuple(row[i] for i in kept) for row in self.rows]
        return replace(self, heads=tuple(self.heads[i] for i in kept), rows=rows)

    def beside(self, other: "Table") -> "Table":
        """The columns of both; those of `other` without its first, which must hold the same."""
        rows = [(*left, *right[1:]) for left, right in zip(self.rows, other.rows, strict=True)]
        return Table(heads=(*self.heads, *other.heads[1:]), rows=rows)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """For a console: figures stand to the right; names and figures are broken where nothing else helps."""
        edges = len(self.heads) + 1
        widths = self._widths(options.max_width - edges - len(self.heads))
        gap = 1 if widths else 0
        widths = widths or self._widths(options.max_width - edges)
        table = RichTable(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, gap))
        for i, head in enumerate(self.heads):
            cells = [_text(row[i]) for row in self.rows]
            told = [cell.plain for cell in cells if cell.plain not in ("", DASH)]
            figures = 2 * sum(bool(_FIGURE.match(text)) for text in told) > len(told)
            short = i == 0 and all(len(cell) <= _SHORT for cell in cells)
            table.add_column(
                Text(visible(head)), justify="right" if figures else "left", no_wrap=short, overflow="fold",
                width=widths[i] if widths else None,
            )  # fmt: skip
        for number, row in enumerate(self.rows):
            table.add_row(*(_text(cell) for cell in row), style="bold" if number in self.marked else None)
        if self.title:
            yield Text(visible(self.title), style="italic")
        yield table
        if self.note:
            yield Text(visible(self.note), style="italic")

    def _widths(self, room: int) -> list[int] | None:
        """Widths of columns in which no word is broken, wider where there is room; None where there is too little."""
        columns = [[visible(head), *(_text(row[i]).plain for row in self.rows)] for i, head in enumerate(self.heads)]
        wanted = [max(map(cell_len, cells)) for cells in columns]
        widths = [max(cell_len(word) for cell in cells for word in _WORD_END.split(cell)) for cells in columns]
        if columns and wanted[0] <= _SHORT:
            widths[0] = wanted[0]
        if sum(widths) > room:
            return None
        for _ in range(room - sum(widths)):
            i = max(range(len(widths)), key=lambda i: wanted[i] - widths[i])
            widths[i] = min(widths[i] + 1, wanted[i])
        return widths


def show(*blocks: Table | str, width: int = 120) -> None:
    """Print tables and lines of plain text.

    Args:
        blocks: in order.
        width: least width in columns where the output is no terminal, such as a pipe, which has none of its own.
    """
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, width)
    for block in blocks:
        shown: RenderableType = Text(visible(block, lines=True)) if isinstance(block, str) else block
        console.print(shown, soft_wrap=isinstance(block, str))


def _text(cell: Cell) -> Text:
    return Text(visible(cell)) if isinstance(cell, str) else Text(visible(cell.text), style=_STYLES[cell.tone])
