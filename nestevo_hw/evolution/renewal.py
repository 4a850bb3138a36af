"""How the teachers of a window's groups evolve: a new one on the crossbar, or adapters beside the one that is there."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nestevo_hw.base.stats import or_nan
from nestevo_hw.evolution.server import Server
from nestevo_hw.evolution.steps.table import ADAPT_LABELLED, ADAPT_UNLABELLED, MERGE
from nestevo_hw.evolution.steps.teachers import AdaptTeacherRequest, MergeRequest
from nestevo_hw.report.records.teacher import Deploy

if TYPE_CHECKING:
    from nestevo_hw.evolution.window import Window


class Renewal:
    """Renews the teachers of a window's groups; one whose task fails for good stays.

    Args:
        window: runs the tasks, and knows frames and terminals.
        server: teachers in force.
    """

    def __init__(self, window: "Window", server: Server) -> None:
        self._window, self._server = window, server

    def merge(self, groups: Sequence[str], taught: Collection[str]) -> list[str]:
        """The mean of a group's intermediate models, on the crossbar, if it passes the validation gate.

        Args:
            groups: to renew.
            taught: terminals whose intermediate models have learned in this window.

        Returns:
            Terminals whose teacher is a new one.
        """
        start_s = self._window.config.window.start_s(self._window.number)
        candidates = {group: self._server.upkeep[group].candidate(self._window.number) for group in groups}
        requests = {
            group: MergeRequest(
                teacher=self._server.upkeep[group].at(self._window.number),
                intermediates=tuple(
                    self._window.file(name, "intermediate.safetensors")
                    for name in self._window.contributing(group)
                    if name in taught
                ),
                candidate=candidate.at(start_s),
                generation=candidate.generation,
                reference=self._server.upkeep[group].reference,
                first_score=self._server.upkeep[group].first_score,
                old_score=self._server.upkeep[group].score_in(self._window.number),
            )
            for group, candidate in candidates.items()
            if set(taught) & set(self._window.members(group))
        }
        renewed: list[str] = []
        for group, merged in self._window.run(MERGE, requests).items():
            verdict = merged.value.verdict
            self._server.upkeep[group].validated(self._window.number, candidates[group], merged.value)
            self._server.journal.log(
                Deploy(
                    window=self._window.number,
                    group=group,
                    accepted=verdict.accepted,
                    gate_before=or_nan(verdict.gate_before),
                    gate_after=or_nan(verdict.gate_after),
                    gate_first=or_nan(verdict.gate_first),
                    reason=verdict.reason,
                )
            )
            renewed += self._window.members(group) if verdict.accepted else []
        return renewed

    def adapt(self, groups: Sequence[str], labels: Mapping[str, Path] | None) -> list[str]:
        """Digital adapters of each group's teacher for the scenes of its terminals; nothing is programmed.

        Args:
            groups: whose teacher adapts.
            labels: supervision of each terminal; None: none is needed.

        Returns:
            Terminals whose teacher has adapted.
        """
        requests = {
            group: AdaptTeacherRequest(
                teacher=self._server.upkeep[group].at(self._window.number),
                uploads=tuple(self._window.file(name, "upload.safetensors") for name in members),
                supervision=() if labels is None else tuple(labels[name] for name in members),
                adapters=self._server.layout.of_group(self._window.number, group, "adapters.safetensors"),
            )
            for group in groups
            if (members := self._window.contributing(group))
        }
        done = self._window.run(ADAPT_UNLABELLED if labels is None else ADAPT_LABELLED, requests)
        for group in done:
            self._server.upkeep[group].adapted(requests[group].adapters)
        return [name for group in done for name in self._window.members(group)]
