"""Accuracies of paths, each measured once and kept in a file, so that a stopped search goes on where it was."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.jsonlines import Journal
from nestevo_hw.models.elastic.space import BranchPath

Measure = Callable[[Sequence[BranchPath]], Sequence[float]]
"""Accuracies (0 to 1) of paths on the device's own frames."""


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A path whose accuracy is known."""

    path: BranchPath
    accuracy: float
    seconds: float
    """What it took to find out; paths that were measured together share their time evenly."""


class Evaluations:
    """Known accuracies, and how to learn more.

    Args:
        measure: accuracies of paths that are not known yet.
        journal: to keep them in, with those of an earlier search; None: in memory alone.
        clock: of seconds.
    """

    def __init__(
        self,
        measure: Measure,
        journal: Journal[Evaluated] | None = None,
        *,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._measure, self._journal, self._clock = measure, journal, clock
        self.known: dict[BranchPath, Evaluated] = {one.path: one for one in journal.records} if journal else {}

    def of(self, paths: Sequence[BranchPath]) -> list[Evaluated]:
        """Paths with their accuracies; those that are not known are measured, all together.

        Raises:
            InputError: a measured accuracy is no finite number.
        """
        new = [path for path in dict.fromkeys(paths) if path not in self.known]
        if new:
            begin = self._clock()
            accuracies = self._measure(new)
            each = (self._clock() - begin) / len(new)
            for path, accuracy in zip(new, accuracies, strict=True):
                self._keep(Evaluated(path, accuracy, each))
        return [self.known[path] for path in paths]

    def _keep(self, one: Evaluated) -> None:
        if not math.isfinite(one.accuracy):
            names = " ".join(branch.name for branch in one.path)
            raise InputError(f"path {names} has an accuracy of {one.accuracy}; look at the frames it was measured on")
        if self._journal is not None:
            self._journal.append(one)
        self.known[one.path] = one
