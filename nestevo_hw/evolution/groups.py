"""Groups of terminals with a teacher each (paper eq. 3, 4): by name, by place, or by what their frames look like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from nestevo_hw.errors import ConfigError

Groups = dict[str, tuple[str, ...]]
"""Terminals by group; every terminal is in exactly one, and a single group is called ""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsConfig:
    """How terminals are grouped; each group has a teacher on a crossbar of its own."""

    by: Literal["none", "name", "place", "features"] = "none"
    """none: one group. name: the terminals' `group`. place: nearness of their `position_m`. features: similarity of
    the teacher's features on their first frames."""
    count: int = 2
    """Number of groups by place or features."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ConfigError(f"groups: need count >= 1, got {self.count}")


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


def similar_groups(points: Mapping[str, Sequence[float]], count: int, *, standardise: bool) -> Groups:
    """Groups of terminals that lie near one another, by Ward's hierarchical clustering: deterministic.

    Args:
        points: coordinates of each terminal: a place in metres, or mean features.
        count: number of groups.
        standardise: give every coordinate unit variance first, as features need and places do not.

    Raises:
        ConfigError: more groups than terminals.
    """
    if count > len(points):
        raise ConfigError(f"groups: {count} groups are wanted of {len(points)} terminals; lower groups.count")
    if count == len(points):
        return {f"group{k + 1}": (name,) for k, name in enumerate(points)}
    from sklearn.cluster import AgglomerativeClustering

    table = np.array([points[name] for name in points], dtype=float)
    if standardise:
        spread = table.std(0)
        table = table[:, spread > 0] / spread[spread > 0]
    labels = AgglomerativeClustering(n_clusters=count).fit_predict(table).tolist()
    order = list(dict.fromkeys(labels))
    return {
        f"group{k + 1}": tuple(name for name, own in zip(points, labels, strict=True) if own == label)
        for k, label in enumerate(order)
    }
