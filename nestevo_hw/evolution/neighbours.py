"""Which terminals of a window learn each other's labelled frames: those of a group that see the same kind of scene."""

from pathlib import Path
from typing import TYPE_CHECKING

from nestevo_hw.evolution.related import nearest
from nestevo_hw.evolution.server import Server
from nestevo_hw.evolution.steps.relating import RelateRequest
from nestevo_hw.evolution.steps.table import RELATE
from nestevo_hw.report.records.terminal import Related

if TYPE_CHECKING:
    from nestevo_hw.evolution.window import Window


class Neighbours:
    """Who learns from whom in a window; nobody does until `relate` has compared their scenes.

    Args:
        window: runs the tasks, and knows frames and terminals.
        server: knows groups, teachers and in-domain frames.
    """

    def __init__(self, window: "Window", server: Server) -> None:
        self._window, self._server = window, server
        self._near: dict[str, tuple[str, ...]] = {}

    def relate(self) -> None:
        """Compare the scenes of each group's terminals."""
        config = self._window.config.replay
        if not config.neighbours:
            return
        requests = {
            group: RelateRequest(
                model=self._ruler(members[0]),
                names=tuple(members),
                uploads=tuple(self._window.file(name, "upload.safetensors") for name in members),
                reference=self._server.upkeep[group].reference,
            )
            for group in self._window.groups
            if len(members := self._window.contributing(group)) > 1
        }
        for related in self._window.run(RELATE, requests).values():
            for name, distances in related.value.distances.items():
                near = self._near[name] = nearest(distances, config.related)
                self._server.journal.log(
                    Related(window=self._window.number, terminal=name, to=near, distances=distances)
                )

    def of(self, name: str) -> list[str]:
        """Terminals, still in the window, that see what `name` sees; one that borrows frames sees its lender's."""
        near = self._near.get(self._window.captured[name].lender or name, ())
        return [other for other in self._window.contributing(self._server.group_of[name]) if other in near]

    def _ruler(self, name: str) -> Path:
        """The checkpoint whose features describe scenes: the first teacher, or with a labeller a terminal's."""
        teacher = self._window.config.teacher
        return teacher.named if teacher.labeller is None else self._server.models[name]
