"""Groups of terminals with a teacher each (paper eq. 3, 4): by name, by place, or by what their frames look like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.ranges import Range

Groups = dict[str, tuple[str, ...]]
"""Terminals by group; every terminal is in exactly one, and a single group is called ""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsConfig:
    """How terminals are grouped; each group has a teacher on a crossbar of its own."""

    by: Literal["none", "name", "place", "features"] = "none"
    """none: one group. name: the terminals' `group`. place: nearness of their `position_m`. features: similarity of
    the teacher's features on their first frames."""
    count: Annotated[int, Range(1, 1000)] = 2
    """Number of groups by place or features."""


def named_groups(names: Mapping[str, str | None]) -> Groups:
    """Groups that the configuration names.

    Args:
        names: group of each terminal.

    Raises:
        ConfigError: a terminal names none.
    """
    missing = [terminal for terminal, group in names.items() if not group]
    if missing:
        raise ConfigError(f'terminal {missing[0]!r}: groups.by = "name" needs a group for every terminal')
    groups: dict[str, list[str]] = {}
    for terminal, group in names.items():
        groups.setdefault(str(group), []).append(terminal)
    return {group: tuple(members) for group, members in groups.items()}


def check_count(count: int, terminals: int) -> None:
    """Refuse a number of groups that so many terminals cannot form.

    Raises:
        ConfigError: with the numbers that they can.
    """
    if not 1 <= count <= terminals:
        raise ConfigError(
            f"groups: {count} groups are wanted of {terminals} terminals; choose groups.count from 1 to {terminals}"
        )


def similar_groups(
    points: Mapping[str, Sequence[float]],
    count: int | None = None,
    *,
    standardise: bool,
    distance: float | None = None,
) -> Groups:
    """Groups of terminals that lie near one another, by Ward's hierarchical clustering: deterministic.

    Args:
        points: coordinates of each terminal: a place in metres, or mean features.
        count: number of groups.
        standardise: give every coordinate unit variance first, as features need and places do not.
        distance: instead of a count: groups grow as long as joining two costs no more than this (Ward's distance, for
            two single terminals their Euclidean one), in the unit of the coordinates, after standardising.

    Raises:
        ConfigError: more groups than terminals, or not just one of count and distance.
        InputError: coordinates that are not finite, or not equally many.
    """
    if (count is None) == (distance is None):
        raise ConfigError("groups: give either a count or a distance")
    if count is not None:
        check_count(count, len(points))
    if distance is not None and not distance > 0:
        raise ConfigError(f"groups: need a distance above 0, got {distance}")
    if len(points) < 2 or count == len(points):
        return {f"group{k + 1}": (name,) for k, name in enumerate(points)}
    from sklearn.cluster import AgglomerativeClustering

    table = _table(points, standardise=standardise)
    labels = AgglomerativeClustering(n_clusters=count, distance_threshold=distance).fit_predict(table).tolist()
    order = list(dict.fromkeys(labels))
    return {
        f"group{k + 1}": tuple(name for name, own in zip(points, labels, strict=True) if own == label)
        for k, label in enumerate(order)
    }


def _table(points: Mapping[str, Sequence[float]], *, standardise: bool) -> np.ndarray:
    """(terminals, coordinates), checked; coordinates that all terminals share say nothing and become zero."""
    width = len(next(iter(points.values())))
    for name, point in points.items():
        if len(point) != width or not np.isfinite(point).all():
            raise InputError(f"terminal {name!r}: expected {width} finite coordinates to group it by, got {[*point]}")
    table = np.array(list(points.values()), dtype=float)
    if not standardise:
        return table
    spread = table.std(0)
    varies = spread > 1e-12 * np.abs(table).max(0)  # below, nothing but rounding
    return (table - table.mean(0)) * varies / np.where(varies, spread, 1.0)
