"""An allowance over time, such as bytes an hour."""

import time
from collections.abc import Callable


class Bucket:
    """An allowance that is used up and fills again.

    Args:
        rate: filled a second.
        most: that it holds; it begins full.
        clock: seconds.
    """

    def __init__(self, rate: float, most: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._most, self._clock = rate, most, clock
        self._level, self._at = most, clock()

    def wait_s(self, amount: float) -> float:
        """Seconds until it holds so much, or all that it can hold; 0 where it does."""
        now = self._clock()
        self._level = min(self._most, self._level + (now - self._at) * self._rate)
        self._at = now
        return max(0.0, min(amount, self._most) - self._level) / self._rate

    def take(self, amount: float) -> float:
        """Use some of it; 0 where it was there, else `wait_s`, and nothing is used."""
        if not (wait_s := self.wait_s(amount)):
            self._level -= min(amount, self._most)
        return wait_s
