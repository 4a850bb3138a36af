"""Sizes of tiles, and how the matrix of a layer is cut into them."""

import math
import re

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.crossbar.geometry import Geometry

Tile = tuple[int, int]
"""(rows, columns): inputs and outputs of one crossbar tile."""


def tile_size(tile: int | Tile) -> Tile:
    """(rows, columns) from one number or two.

    Raises:
        ConfigError: a side is not between 1 and 65536.
    """
    rows, columns = (tile, tile) if isinstance(tile, int) else tile
    if not (1 <= rows <= 65_536 and 1 <= columns <= 65_536):
        raise ConfigError(f"need a tile of 1 to 65536 rows and columns, got {rows} x {columns}")
    return rows, columns


def parse_tile(text: str) -> Tile:
    """(rows, columns) from text such as "256" or "256x128".

    Raises:
        ConfigError: it is neither one number nor two, or a side is impossible.
    """
    found = re.fullmatch(r" *([0-9]{1,9}) *(?:x *([0-9]{1,9}) *)?", text.lower())
    if found is None:
        raise ConfigError(f"need a tile such as 256 or 256x128, got {text!r}")
    return tile_size((int(found[1]), int(found[2] or found[1])))


def split_sizes(size: int, limit: int) -> tuple[int, ...]:
    """Cut `size` lines into as few parts of at most `limit` as possible, equal to within one line."""
    parts = math.ceil(size / limit)
    base, extra = divmod(size, parts)
    return tuple(base + (i < extra) for i in range(parts))


def tile_splits(geometry: Geometry, tile: Tile, digits: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Inputs of each tile along the rows and outputs along the columns, band after band.

    A layer without groups puts its digits side by side into the same tiles; with groups every digit of a band has
    tiles of its own.
    """
    inputs, outputs = (geometry.banded * side for side in geometry.group)
    rows = split_sizes(inputs, tile[0])
    if geometry.bands == 1:
        return rows, split_sizes(outputs * digits, tile[1])
    return rows, split_sizes(outputs, tile[1]) * (geometry.bands * digits)
