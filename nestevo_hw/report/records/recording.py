"""Records of what was found in a terminal's recording before a run began."""

from dataclasses import dataclass, field

from nestevo_hw.report.records.fields import SETUP, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What became of the label file of one terminal's recording."""

    terminal: str
    file: str
    frames: int = 0
    """Of the recording that are labelled."""
    boxes: int = 0
    """That teach and score."""
    regions: int = 0
    """That score neither right nor wrong."""
    elsewhere: int = 0
    """Images of other recordings in the same file."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Boxes of categories that the class map does not name."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Boxes that cannot be used, by reason."""
    cut: int = 0
    """Boxes that reached beyond their frame."""
    warnings: tuple[str, ...] = ()
    """What should be looked at, one line each."""
    window: Window = SETUP


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What damage in one terminal's recording has cost."""

    terminal: str
    file: str
    frames: int
    """That were looked at."""
    damaged: int
    """Of them, which others stand in for or which are left out."""
    warnings: tuple[str, ...] = ()
    """What should be looked at, one line each."""
    window: Window = SETUP
