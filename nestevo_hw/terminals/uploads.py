"""Which of its frames a terminal sends: as many as an evolution takes, and now and then a newer one."""

import math
import time
from collections.abc import Callable, Sequence

from nestevo_hw.base.bucket import Bucket
from nestevo_hw.terminals.spool import Spooled
from nestevo_hw.wire.documents import Welcome


class Uploads:
    """Chooses among waiting frames; those before one that was sent are never sent.

    The server is to have as many as an evolution takes, whenever that begins. So these are sent as they come; after
    that one at a time, so that as many are replaced within a period; and all anew when the terminal asks for
    evolution, since what made it ask is on its last frames.

    Args:
        budget_bytes: most to send within a period.
        period_s: seconds.
        clock: seconds.
    """

    def __init__(self, budget_bytes: float, period_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._budget = Bucket(budget_bytes / period_s, budget_bytes, clock)
        self._period_s, self._clock = period_s, clock
        self._wanted = self._there = self._anew = 0
        self._sent_at = -math.inf

    def told(self, welcome: Welcome) -> None:
        """Hear how many frames the server has, and how many it wants."""
        self._wanted, self._there = welcome.wanted_frames, welcome.waiting_frames

    def renew(self) -> None:
        """Send as many again as an evolution takes."""
        self._anew = self._wanted

    def next(self, waiting: Sequence[Spooled]) -> Spooled | None:
        """The frame to send now, evenly over those that wait; None where none is due or the budget is used up.

        Args:
            waiting: oldest first.
        """
        lacking = max(self._anew, self._wanted - self._there)
        if not waiting or not self._wanted:
            return None
        if lacking <= 0 and self._clock() - self._sent_at < self._period_s / self._wanted:
            return None
        chosen = waiting[math.ceil(len(waiting) / max(lacking, 1)) - 1]
        return None if self._budget.wait_s(chosen.bytes) else chosen

    def sent(self, size: int) -> None:
        """A frame of so many bytes is at the server."""
        self._budget.take(size)
        self._there += 1
        self._anew = max(0, self._anew - 1)
        self._sent_at = self._clock()
