"""How a dynamic terminal saves: when it keeps what it has, and what it may drop."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from nestevo_hw.base.ranges import FRAMES, NOT_NEGATIVE, SHARE, Range
from nestevo_hw.terminals.dynamic.hooks.config import HookSettings

THREADS = Range(1, 256)


@dataclass(frozen=True, slots=True, kw_only=True)
class DynamicSettings:
    """Of one dynamic model."""

    mode: Literal["exact", "approximate"] = "exact"
    """"exact": features are those of the dense model on the image as far as it was taken over; "approximate": small
    changes of features are dropped, and regions that hardly hold anything left out."""
    threshold: Annotated[float, Range(0, 255)] | None = None
    """Change of a channel of a pixel that is no change, 0 to 255; None: calibrated on the noise of the first frames."""
    calibration_frames: Annotated[int, Range(2, 1000)] = 8
    """Frames that noise is calibrated on; they are run dense."""
    key_every: Annotated[int, FRAMES] = 50
    """Frames from one that is run dense whatever it shows to the next."""
    light: Annotated[float, Range(0, 255)] = 6.0
    """Change of the mean of all pixels, 0 to 255, at which a frame is run dense: the light has changed."""
    dense_above: Annotated[float, SHARE] = 0.6
    """Share of a stage's input from which on the whole of it is run."""
    most_regions: Annotated[int, Range(1, 16)] = 3
    """Separate changes that are followed; more are taken together."""
    margin: Annotated[float, SHARE] = 0.05
    """A saving must exceed what it costs to decide on it by this share."""
    tolerance: Annotated[float, NOT_NEGATIVE] = 0.1
    """In approximate mode: largest change of a feature that is dropped, in root mean squares of its tensor."""
    least_objectness: Annotated[float, SHARE] = 0.2
    """In approximate mode: regions less sure to hold something are left out; without any, the head is skipped."""
    moving_frames: Annotated[int, FRAMES] = 1
    """Frames in a row for which saving does not pay; then one session runs the whole model, and no stage is kept."""
    look_every: Annotated[int, FRAMES] = 4
    """While the camera moves, frames from one that is compared with the last one to the next."""
    threads: Annotated[int, THREADS] = 1
    """That one operator may compute on."""
    hooks: HookSettings = field(default_factory=HookSettings)
    """What decides on cheaper ways, if any have been fitted."""
