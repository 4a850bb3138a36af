"""How many groups of a block-diagonal matrix share a tile."""


def groups_per_band(groups: int, inputs: int, outputs: int, rows: int, columns: int) -> int:
    """Groups in a band: as many as one tile holds, with equally many in every band.

    Args:
        groups: of the layer.
        inputs: of one group.
        outputs: of one group.
        rows: of a tile.
        columns: of a tile.

    Returns:
        A divisor of `groups`; 1 where a group alone fills a tile.
    """
    most = max(1, min(rows // inputs, columns // outputs, groups))
    return next(count for count in range(most, 0, -1) if groups % count == 0)
