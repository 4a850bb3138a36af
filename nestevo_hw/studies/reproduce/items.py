"""Every table and figure of the paper, in its order."""

from collections.abc import Iterable

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.studies.reproduce import accuracy_items as accuracy
from nestevo_hw.studies.reproduce import system_items as system
from nestevo_hw.studies.reproduce.effort import Effort
from nestevo_hw.studies.reproduce.item import Item


def items(effort: Effort) -> tuple[Item, ...]:
    """All, in the paper's order."""
    return (
        accuracy.FIGURE_8, accuracy.TABLE_2, accuracy.FIGURE_9, accuracy.FIGURE_10, accuracy.TABLE_3,
        accuracy.TABLE_4_ITEM, system.figure_11(effort), system.FIGURE_12, system.FIGURE_13, system.TABLE_5,
        system.FIGURE_14, system.FIGURE_15, system.TABLE_6,
    )  # fmt: skip


def chosen(names: Iterable[str], effort: Effort) -> tuple[Item, ...]:
    """Items by name in the paper's order; all for `ALL`.

    Raises:
        ConfigError: an unknown name.
    """
    wanted, known = set(names), items(effort)
    unknown = wanted - {item.name for item in known} - {ALL}
    if unknown:
        raise ConfigError(
            f"the paper has no {', '.join(sorted(unknown))} to reproduce; choose from "
            f"{', '.join(item.name for item in known)} or {ALL}"
        )
    return known if ALL in wanted else tuple(item for item in known if item.name in wanted)


ALL = "all"
