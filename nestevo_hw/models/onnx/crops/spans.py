"""Pieces of axes, and rectangles of images and features."""

from types import EllipsisType
from typing import NamedTuple


class Span(NamedTuple):
    """Indices `start` to `stop - 1` along an axis."""

    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many there are."""
        return max(0, self.stop - self.start)

    def holds(self, other: "Span") -> bool:
        """Whether all of another one is inside."""
        return self.start <= other.start and other.stop <= self.stop

    def hull(self, other: "Span | None") -> "Span":
        """The least one around both."""
        return self if other is None else Span(min(self.start, other.start), max(self.stop, other.stop))

    def within(self, length: int) -> "Span":
        """What of it lies in 0 to `length - 1`."""
        return Span(max(0, self.start), min(length, self.stop))


class Rect(NamedTuple):
    """A rectangle of an image or of features."""

    rows: Span
    columns: Span

    @property
    def area(self) -> int:
        """Cells in it."""
        return self.rows.size * self.columns.size

    @property
    def slices(self) -> tuple[EllipsisType, slice, slice]:
        """To index the last two axes."""
        return (..., slice(*self.rows), slice(*self.columns))

    def hull(self, other: "Rect | None") -> "Rect":
        """The least one around both."""
        return self if other is None else Rect(self.rows.hull(other.rows), self.columns.hull(other.columns))

    def meets(self, other: "Rect") -> bool:
        """Whether they share a cell."""
        pairs = ((self.rows, other.rows), (self.columns, other.columns))
        return all(max(a.start, b.start) < min(a.stop, b.stop) for a, b in pairs)

    def moved(self, rows: int, columns: int) -> "Rect":
        """The same in coordinates whose origin lies at (rows, columns)."""
        return Rect(
            Span(self.rows.start - rows, self.rows.stop - rows),
            Span(self.columns.start - columns, self.columns.stop - columns),
        )


def whole(size: tuple[int, int]) -> Rect:
    """All of an image of (H, W)."""
    return Rect(Span(0, size[0]), Span(0, size[1]))
