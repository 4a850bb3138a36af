"""Deployment at the end of a window: which of its models each terminal runs next, as ONNX and in force."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nestevo_hw.evolution.server import Server
from nestevo_hw.evolution.steps.deploying import ExportRequest, SelectRequest, SelectResult
from nestevo_hw.evolution.steps.table import EXPORT, SELECT
from nestevo_hw.evolution.steps.training import ReplaySample
from nestevo_hw.models.onnx.manifest import Version
from nestevo_hw.report.records.terminal import Candidate, Select

if TYPE_CHECKING:
    from nestevo_hw.evolution.window import Window


class Rollout:
    """Gives the terminals of a window their models; a terminal whose task fails for good keeps what it has.

    Args:
        window: runs the tasks, and knows frames and BatchNorm-adapted models.
        server: models in force.
        supervision: what each terminal learned from; a terminal without any is given its evolved model untried.
    """

    def __init__(self, window: "Window", server: Server, supervision: Mapping[str, Path]) -> None:
        self._window, self._server, self._supervision = window, server, supervision

    def deploy(self, evolved: Mapping[str, Path]) -> None:
        """Bring the best model of each terminal into force.

        Args:
            evolved: checkpoint of each terminal that has evolved.
        """
        requests = self._selections(evolved)
        chosen = self._chosen(requests)
        models = {**evolved, **{name: requests[name].candidates[found.chosen] for name, found in chosen.items()}}
        exports = {
            name: ExportRequest(
                terminal=models[name],
                upload=self._window.file(name, "upload.safetensors"),
                folder=self._server.layout.deployed(self._window.number, name),
                version=Version(run=self._window.config.digest, window=self._window.number, terminal=name),
            )
            for name in self._window.names
            if models[name] != self._server.models[name]
        }
        for name in self._window.run(EXPORT, exports):
            self._server.deploy(self._window.number, name, models[name], exports[name].folder)
            if models[name] != evolved[name]:
                continue
            self._server.paths.evolved(name)
            if name in self._supervision:
                upload, supervision = exports[name].upload, self._supervision[name]
                self._server.replay[name].append(ReplaySample(upload=upload, supervision=supervision))

    def _selections(self, evolved: Mapping[str, Path]) -> dict[str, SelectRequest]:
        """What each terminal could run, where labels allow a comparison."""
        if not self._window.config.deployment.held_back:
            return {}
        return {
            name: SelectRequest(
                candidates={"old": self._server.models[name], "evolved": path, **self._adapted(name)},
                upload=self._window.file(name, "upload.safetensors"),
                supervision=self._supervision[name],
            )
            for name, path in evolved.items()
            if name in self._window.names and name in self._supervision
        }

    def _chosen(self, requests: Mapping[str, SelectRequest]) -> dict[str, SelectResult]:
        """What does best on frames that it has not learned from."""
        tried = {name: request for name, request in requests.items() if self._window.held_back(name)}
        done = self._window.run(SELECT, tried) if tried else {}
        chosen = {name: finished.value for name, finished in done.items()}
        for name in requests.keys() - tried.keys():
            # Nothing speaks for a model that learned from the only frame there is.
            chosen[name] = SelectResult(
                chosen="adapted" if self._adapted(name) else "old", scores={}, frames=0, untaught={}
            )
        for name, found in sorted(chosen.items()):
            self._server.journal.log(
                Select(
                    window=self._window.number,
                    terminal=name,
                    chosen=found.chosen,
                    scores=found.scores,
                    frames=found.frames,
                    untaught=found.untaught,
                )
            )
        return chosen

    def _adapted(self, name: str) -> dict[Candidate, Path]:
        adapted = self._window.adapted_models
        return {"adapted": adapted[name]} if name in adapted else {}
