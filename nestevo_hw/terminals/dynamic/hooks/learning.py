"""Learning while running: now and then a frame is run densely and once more in a cheaper way, beside the frames."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Empty, Full, Queue

import numpy as np

from nestevo_hw.base.errors import NestEvoError
from nestevo_hw.terminals.dynamic.agreement import f1
from nestevo_hw.terminals.dynamic.hooks.config import HookSettings
from nestevo_hw.terminals.dynamic.hooks.hook import Hook
from nestevo_hw.terminals.dynamic.hooks.learners import Try
from nestevo_hw.terminals.dynamic.hooks.rungs import Halves
from nestevo_hw.terminals.dynamic.profile import Average
from nestevo_hw.terminals.dynamic.stages import as_floats
from nestevo_hw.terminals.runtime import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningSummary:
    """What trying has shown; None where nothing has been tried or decided yet."""

    tries: int
    seconds: float
    """Of processor time, for all of them."""
    agreement: float | None
    """Moving average of F1 of the tried ways with the dense result."""
    decision_s: float | None
    """Moving average of a decision's time."""
    sure: tuple[float, ...]
    """Probability that each rung is good enough for the usual frame."""


class Learning:
    """Teaches a hook; whoever runs frames offers them, and somebody else works.

    Args:
        hook: to be taught.
        halves: of its model.
        settings: how often, and how much of the time.
    """

    def __init__(self, hook: Hook, halves: Halves, settings: HookSettings) -> None:
        self.hook, self.halves, self._settings = hook, halves, settings
        self._waiting: Queue[Frame] = Queue(1)
        self._frames_s, self._since, self._deeper = 0.0, 0, False
        self.seconds = 0.0
        """Of processor time on trying and learning so far."""
        self.agreement = Average()
        """F1 of the tried ways with the dense result."""
        self.tries = 0

    @property
    def summary(self) -> "LearningSummary":
        """As of now."""
        seen = np.zeros(self.hook.width)
        return LearningSummary(
            tries=self.tries, seconds=self.seconds, agreement=self.agreement.value, decision_s=self.hook.cost.value,
            sure=tuple(self.hook.learner.sure(seen).tolist()),
        )  # fmt: skip

    @property
    def told(self) -> str:
        """The same in words."""
        agreed = "-" if self.agreement.value is None else f"{self.agreement.value:.3f}"
        cost = "-" if self.hook.cost.value is None else f"{1e6 * self.hook.cost.value:.0f} us"
        sure = ", ".join(f"{share:.2f}" for share in self.summary.sure)
        return (f"{self.tries} frames tried in {self.seconds:.2f} s, agreement {agreed}; a decision {cost}; "
                f"rungs are good enough with a probability of {sure}")  # fmt: skip

    def offer(self, frame: Frame, seconds: float, *, computed: bool) -> None:
        """Count a frame that took so long; now and then one of those that something was computed for is to be tried."""
        self._frames_s += seconds
        self._since += computed
        if not computed or self._since < self._settings.learn_every:
            return
        if self.seconds * (1 + 1 / max(1, self.tries)) > self._settings.most_learning * self._frames_s:
            return
        try:
            self._waiting.put_nowait(frame.copy())
            self._since = 0
        except Full:
            pass  # the last one is still being tried: this one may go untried

    def work(self) -> bool:
        """Try the frame that waits, if one does.

        Returns:
            Whether one did.
        """
        try:
            frame = self._waiting.get_nowait()
        except Empty:
            return False
        self._try(frame)
        return True

    @contextmanager
    def background(self) -> Iterator[None]:
        """While it lasts, frames are tried on a thread of their own.

        Raises:
            NestEvoError: at the end, if a try failed.
        """
        ending, failed = threading.Event(), list[NestEvoError]()

        def work() -> None:
            while not ending.is_set():
                try:
                    self._try(self._waiting.get(timeout=_LOOK_S))
                except Empty:
                    continue
                except NestEvoError as error:
                    failed.append(error)
                    return

        thread = threading.Thread(target=work, name="learning", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()
        if failed:
            raise failed[0]

    def _try(self, frame: Frame) -> None:
        """Run a frame densely and along a rung: that which would be taken, and every other time the next one."""
        began = time.thread_time()
        image = np.empty((1, 3, *frame.shape[:2]), np.float32)
        as_floats(frame, image[0])
        between = self.halves.first(image)
        seen = self.hook.seen(between[self.hook.after])
        rung = min(max(1, self.hook.allowed(seen) + self._deeper), len(self.hook.rungs))
        self._deeper = not self._deeper
        agreed = f1(self.halves.second(between, rung), self.halves.second(between, 0))
        self.hook.learner.learn(Try(seen, rung - 1, agreed >= self._settings.agreement))
        self.agreement.add(agreed)
        self.tries += 1
        self.seconds += time.thread_time() - began


_LOOK_S = 0.2
"""Between looks for whether to end."""
