"""Whether the device has become slower or faster than its latency table says, told from the times of single frames."""

import math
from dataclasses import dataclass
from statistics import fmean, median_low
from typing import Annotated

from nestevo_hw.base.ranges import FRAMES, POSITIVE, SHARE


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorSettings:
    """How a monitor tells change from noise."""

    frames: Annotated[int, FRAMES] = 20
    """Of the moving average (EWMA, weight 2 / (frames + 1)): slow changes."""
    tolerance: Annotated[float, SHARE] = 0.05
    """Share of a frame's time that no change is seen in (delta of the Page-Hinkley test)."""
    alarm: Annotated[float, POSITIVE] = 0.6
    """Sum of deviations beyond the tolerance at which the test sees a jump (lambda)."""
    most: Annotated[float, POSITIVE] = 0.5
    """A frame's deviation counts as no more, below `alarm`, so that one frame alone is no jump."""
    hysteresis: Annotated[float, SHARE] = 0.1
    """Change of rho that is acted on, as a share of the rho in force."""

    def __post_init__(self) -> None:
        if self.most - self.tolerance >= self.alarm:
            raise ValueError(f"one frame raises the alarm: most {self.most:g} is not below alarm {self.alarm:g}")


class Monitor:
    """Estimates rho, the measured time of a frame over the predicted one.

    An exponentially weighted average follows slow changes. Jumps are found by the Page-Hinkley test, of each direction,
    on the deviation from that average; after one the average starts anew from the frames since the jump began.

    Args:
        settings: of it.
        rho: at the beginning.
    """

    def __init__(self, settings: MonitorSettings, rho: float = 1.0) -> None:
        self._settings = settings
        self.average = rho
        """Of the ratio, as of the last frame."""
        self.rho = rho
        """In force: it follows the average only where that has left it by the hysteresis."""
        self._slower, self._faster = _Sum(settings), _Sum(settings)

    def frame(self, ratio: float) -> bool:
        """Take the ratio of one frame's measured time to its predicted one; one that is no number above 0 says nothing.

        Returns:
            Whether rho has changed.
        """
        if not 0 < ratio < math.inf:
            return False
        deviation = ratio / self.average - 1
        for side, signed in ((self._slower, deviation), (self._faster, -deviation)):
            if (jumped_to := side.add(signed, ratio)) is not None:
                self.average = jumped_to
                self._slower, self._faster = _Sum(self._settings), _Sum(self._settings)
                break
        else:
            weight = 2 / (self._settings.frames + 1)
            # A single slow frame moves the average no more than it may count in the test.
            most = self._settings.most
            self.average *= 1 + weight * min(max(deviation, -most), most)
        if abs(self.average / self.rho - 1) <= self._settings.hysteresis:
            return False
        self.rho = self.average
        return True


class _Sum:
    """One side of the Page-Hinkley test: deviations summed from where their sum was least."""

    def __init__(self, settings: MonitorSettings) -> None:
        self._settings = settings
        self._sum, self._since = 0.0, list[tuple[float, float]]()

    def add(self, deviation: float, ratio: float) -> float | None:
        """Typical ratio since the jump began, if there is one now."""
        self._sum += min(deviation, self._settings.most) - self._settings.tolerance
        if self._sum <= 0:
            self._sum, self._since = 0.0, []
            return None
        self._since.append((deviation, ratio))
        if self._sum <= self._settings.alarm:
            return None
        # Noise of the frames before the jump may have kept the sum above 0.
        least = min(max(self._since)[0], self._settings.most) / 2
        jumped = [ratio for deviation, ratio in self._since if deviation >= least]
        if len(jumped) == 1:  # it may have stalled, and says nothing of how slow others will be
            return None
        most = median_low(jumped) * (1 + self._settings.most)
        return fmean(min(ratio, most) for ratio in jumped)
