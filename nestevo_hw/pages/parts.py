"""Where figures come from, and short states; templates/parts.html says how each looks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

MEASURED, SIMULATED, MODELLED, PARTLY_MODELLED = "measured", "simulated", "modelled", "partly modelled"
ORIGINS: Mapping[str, str] = {
    MEASURED: "observed while it happened",
    SIMULATED: "computed on devices that are noise models of published chips; no hardware was involved",
    MODELLED: "computed from a stated formula, such as upload time from a link's bandwidth",
    PARTLY_MODELLED: "some of its parts are measured, the others computed from a stated formula",
}
"""Where a figure can come from."""
Tone = Literal["good", "bad", "wait", ""]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pill:
    """A short state."""

    text: str
    tone: Tone = ""


def origin_of(origins: Iterable[str]) -> str:
    """Origin of a figure that is put together from others; empty where that of any is not known."""
    different = set(origins)
    if not different or not different <= set(ORIGINS):
        return ""
    return different.pop() if len(different) == 1 else PARTLY_MODELLED
