"""Keeps a terminal within its latency budget: which path it should run, frame by frame."""

from dataclasses import dataclass

from nestevo_hw.base.ranges import POSITIVE, Range
from nestevo_hw.terminals.elastic.monitor import Monitor, MonitorSettings
from nestevo_hw.terminals.elastic.pool import Candidate, Pool

DWELL_FRAMES = Range(0, 1_000_000)


@dataclass(frozen=True, slots=True)
class Change:
    """Another path is to run from now on."""

    to: Candidate
    rho: float
    """How many times slower than its table the device is."""
    fits: bool
    """False: no path of the pool fits, so this is the fastest one (it may be running), and a new search is due."""


class Keeper:
    """Chooses from a pool as the device's speed changes.

    Each time that rho changes, the times of the pool are rescaled by it and the most accurate path that fits is taken.
    A path that takes longer than the one that runs has to wait until this one has run for `dwell` frames; a faster one
    is taken at once, since every frame over the budget is late.

    Args:
        pool: to choose from.
        budget_s: time of a frame.
        settings: of the monitor.
        dwell: frames that a path runs before a slower one may follow it.

    Raises:
        ConfigError: a budget or dwell out of range.
    """

    def __init__(
        self,
        pool: Pool,
        budget_s: float,
        settings: MonitorSettings | None = None,
        *,
        dwell: int = 50,
    ) -> None:
        POSITIVE.require(budget_s, "latency budget, s")
        DWELL_FRAMES.require(dwell, "dwell")
        self._budget_s, self._dwell = budget_s, dwell
        self._monitor = Monitor(settings or MonitorSettings())
        self._pool, self._ran, self._due = pool, 0, False
        self.running = self._choice().to
        """The path that should run."""

    @property
    def rho(self) -> float:
        """How many times slower than its table the device is taken to be."""
        return self._monitor.rho

    def frame(self, seconds: float) -> Change | None:
        """Take the time of a frame.

        Args:
            seconds: that the running path took.

        Returns:
            The change to make before the next frame, if there is one.
        """
        self._ran += 1
        self._due |= self._monitor.frame(seconds / self.running.seconds)
        return self._change() if self._due else None

    def renew(self, pool: Pool) -> Change | None:
        """Choose from another pool: that of a new search, or one whose paths were scored again after drift.

        Returns:
            The change to make, at once.
        """
        self._pool, self._ran, self._due = pool, self._dwell, True
        return self._change()

    def _change(self) -> Change | None:
        choice = self._choice()
        self._due = choice.to.seconds > self.running.seconds and self._ran < self._dwell
        stays = choice.to.path == self.running.path
        if self._due or (stays and choice.fits):
            return None
        if not stays:
            self.running, self._ran = choice.to, 0
        return choice

    def _choice(self) -> Change:
        best = self._pool.best(self._budget_s, self.rho)
        return Change(best or self._pool.fastest, self.rho, fits=best is not None)
