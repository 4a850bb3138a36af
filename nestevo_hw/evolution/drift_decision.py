"""Whose teacher evolves with its terminals: by who has drifted (eq. 11-13), or by what is expected of it."""

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from nestevo_hw.base.stats import or_nan
from nestevo_hw.evolution.dispatch import Batch
from nestevo_hw.evolution.server import Server
from nestevo_hw.evolution.steps.labels import DriftRequest, DriftResult
from nestevo_hw.evolution.steps.table import DETECT_DRIFT
from nestevo_hw.report.records.teacher import Basis, Benefit, Decision, Drift

if TYPE_CHECKING:
    from nestevo_hw.evolution.window import Window

CO_EVOLUTION, TERMINALS_ONLY, ADAPTATION = "co-evolution", "terminals-only", "adaptation"


class DriftDecision:
    """Measures drift, and decides for each group of a window.

    Args:
        window: knows frames and terminals.
        server: teachers in force, and thresholds.
    """

    def __init__(self, window: "Window", server: Server) -> None:
        self._window, self._server = window, server

    def detecting(self) -> Batch[DriftRequest, DriftResult]:
        """To measure the drift of each terminal (eq. 11)."""
        requests = {
            name: DriftRequest(
                teacher=self._server.teacher_of(name, self._window.number),
                upload=self._window.file(name, "upload.safetensors"),
                moments=self._server.layout.moments(group),
                familiar_rate=self._server.familiar[group].rate,
                min_samples=self._server.familiar[group].min_samples,
            )
            for group in self._window.groups
            for name in self._window.contributing(group)
        }
        return Batch(step=DETECT_DRIFT, window=self._window.number, requests=requests)

    def groups(self, found: Mapping[str, DriftResult]) -> list[str]:
        """Groups whose teacher evolves too.

        Args:
            found: drift of each terminal.
        """
        drifted = [name for name, value in found.items() if self._has_drifted(name, value)]
        return [group for group in self._window.groups if self._decide(group, drifted) == CO_EVOLUTION]

    def unsure(self, counts: Mapping[str, Mapping[int, int]]) -> list[str]:
        """Groups whose teacher has become unsure, so that it is worth its adaptation (docs/regime.md).

        Args:
            counts: labels by class of each terminal.
        """
        return [group for group in self._window.groups if self._is_unsure(group, counts)]

    def _is_unsure(self, group: str, counts: Mapping[str, Mapping[int, int]]) -> bool:
        members, least = self._window.contributing(group), self._window.config.drift.sure_share
        labels = sum(sum(counts[name].values()) for name in members)
        frames = sum(self._window.captured[name].frames for name in members)
        expected = frames * self._server.familiar[group].rate
        sure = labels / expected if expected else math.nan
        mode = ADAPTATION if sure < least else TERMINALS_ONLY
        self._server.journal.log(Benefit(window=self._window.number, group=group, sure=sure, least=least, mode=mode))
        return mode == ADAPTATION

    def _has_drifted(self, name: str, value: DriftResult) -> bool:
        gamma = self._server.familiar[self._server.group_of[name]].gamma
        # What cannot be compared is not left alone: the worse a camera, the less a teacher finds to compare.
        drifted = value.score is None or value.score > gamma
        basis: Basis = "compared" if value.score is not None else "blind" if value.blind else "nothing to compare"
        left_out = tuple(self._server.classes[c - 1] for c in value.left_out)
        self._server.journal.log(
            Drift(
                window=self._window.number,
                terminal=name,
                score=or_nan(value.score),
                threshold=gamma,
                drifted=drifted,
                basis=basis,
                left_out=left_out,
            )
        )
        self._server.drift[name] = value.score
        return drifted

    def _decide(self, group: str, drifted: Collection[str]) -> str:
        members = self._window.contributing(group)
        count = len([name for name in members if name in drifted])
        epsilon = self._window.config.drift.epsilon or len(members) // 2 + 1
        mode = CO_EVOLUTION if count >= epsilon else TERMINALS_ONLY
        self._server.journal.log(
            Decision(window=self._window.number, group=group, drifted=count, epsilon=epsilon, mode=mode)
        )
        return mode
