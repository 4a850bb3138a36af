"""Records of the teacher: drift that it sees, which evolution was asked for, how it was programmed and validated."""

import math
from dataclasses import dataclass
from typing import Literal

from nestevo_hw.report.records.fields import SETUP, Number, Window

Basis = Literal["compared", "blind", "nothing to compare"]
"""What the word on a terminal's drift rests on: its features; that the teacher detects far less than on in-domain
frames; or neither, as too few objects were to be expected. The last two count as drift."""


Origin = Literal["calibrated", "given", "paper"]
"""Of a drift threshold: in-domain segments, the configuration, or the paper, where the teacher knows too little of the
segments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What the drift of a group's frames is measured against."""

    window: Window = SETUP
    threshold: Number
    origin: Origin
    min_samples: int
    """Objects from which on a class is compared."""
    segments: int
    """In-domain segments in which a class could be."""
    rate: Number
    """Objects that the teacher detects on an in-domain frame."""
    group: str = ""

    @property
    def trouble(self) -> str:
        """What should be looked at; empty where nothing should."""
        if self.origin != "paper":
            return ""
        return (
            f"the teacher recognises next to nothing in in-domain frames ({self.rate:.2g} objects a frame), so the "
            f"drift threshold is the paper's {self.threshold:g}; `nestevo-hw pretrain` on labels of your own makes one "
            "that does"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Drift score of one terminal against its threshold (eq. 11, 12)."""

    window: Window
    terminal: str
    score: Number
    """NaN where no class could be compared."""
    threshold: Number
    drifted: bool
    basis: Basis = "compared"
    left_out: tuple[str, ...] = ()
    """Classes with too few objects to compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Which evolution a window asked for (eq. 13)."""

    window: Window
    drifted: int
    """Terminals that drifted."""
    epsilon: int
    """Drifted terminals from which on the teacher evolves too."""
    mode: str
    group: str = ""
    """Group of terminals that share a teacher; "" where there is only one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benefit:
    """Which evolution a window asked for, by what is expected of it."""

    window: Window
    sure: Number
    """Labels a frame that the teacher is sure of, of those on in-domain frames."""
    least: Number
    """Below which the teacher adapts."""
    mode: str
    group: str = ""
    """Group of terminals that share a teacher; "" where there is only one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """Training of the data generator (Algorithm 1)."""

    window: Window
    label_loss: Number = math.nan
    emd_before: Number = math.nan
    """Earth mover's distance between the terminals' label distributions, as uploaded."""
    emd_after: Number = math.nan
    """The same with generated samples added."""
    feature_emd_before: Number = math.nan
    """Earth mover's distance between the features of the terminals' objects, in units of their spread."""
    feature_emd_after: Number = math.nan
    """The same with generated features added. Sets that share a part are nearer by it, whatever the generator is."""
    overall_emd_before: Number = math.nan
    """Earth mover's distance from the features of each terminal's objects to those of all terminals together."""
    overall_emd_after: Number = math.nan
    """The same with generated features added to a terminal's; lower only where these are like real ones."""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A teacher written onto the crossbar, for the first time or again."""

    window: Window
    generation: int
    analog: str
    tile: int | tuple[int, int] = 0
    tiles: int | None = None
    weight_error: Number = math.nan
    """RMS error of the programmed weights, relative."""
    age_s: Number = math.nan
    """At the first label, seconds."""
    cause: str = ""
    """first, refresh or new teacher."""
    score: Number = math.nan
    """Score on in-domain frames right after programming."""
    chip: str = ""
    """Whose figures model the cost."""
    time_s: Number = math.nan
    energy_j: Number = math.nan
    wear: Number = math.nan
    """Share of the cells' endurance used up."""
    differences: tuple[str, ...] = ()
    """What is simulated otherwise than the chip is costed, a line each."""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """State of the teacher before a window's labels, and whether it was programmed again."""

    window: Window
    policy: str
    refreshed: bool
    reason: str = ""
    generation: int = 0
    age_s: Number = math.nan
    """Since its last programming, had it not been programmed again."""
    score: Number = math.nan
    """Score on in-domain frames at that age."""
    fresh_score: Number = math.nan
    """The same right after its last programming."""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """Validation gate in front of a new teacher: accuracy of old, new and first one on held-out labelled frames."""

    window: Window
    accepted: bool
    gate_before: Number = math.nan
    gate_after: Number = math.nan
    gate_first: Number = math.nan
    reason: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Groups of terminals with a teacher each (eq. 3, 4)."""

    by: str
    groups: dict[str, tuple[str, ...]]
    window: Window = SETUP
