"""What runs the branches of a supernet, each opened when a path first needs it: a change-over loads what differs."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from nestevo_hw.models.elastic.space import Branch


@dataclass(frozen=True, slots=True, kw_only=True)
class Changeover:
    """What going over to other branches came to."""

    loaded: tuple[Branch, ...]
    """Those that were not open."""
    seconds: float
    """Until all were."""


class BranchSessions[S]:
    """Sessions by branch.

    Args:
        open_session: of a branch: an `onnxruntime.InferenceSession` from its file.
        most: sessions to keep; those that were used longest ago go first, never ones of the last path. None: all.
        clock: of seconds.
    """

    def __init__(
        self,
        open_session: Callable[[Branch], S],
        most: int | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._open_session, self._most, self._clock = open_session, most, clock
        self._open: OrderedDict[Branch, S] = OrderedDict()

    def change_to(self, branches: Iterable[Branch]) -> Changeover:
        """Have the branches of a path open, or of several paths beforehand.

        If one cannot be opened its error passes through, and what was open stays so.
        """
        begin = self._clock()
        wanted = dict.fromkeys(branches)
        loaded = {branch: self._open_session(branch) for branch in wanted if branch not in self._open}
        self._open |= loaded
        for branch in wanted:
            self._open.move_to_end(branch)
        while self._most is not None and len(self._open) > max(self._most, len(wanted)):
            self._open.popitem(last=False)
        return Changeover(loaded=tuple(loaded), seconds=self._clock() - begin)

    def __getitem__(self, branch: Branch) -> S:
        """The session of an open branch."""
        return self._open[branch]

    def __len__(self) -> int:
        """Sessions that are open."""
        return len(self._open)
