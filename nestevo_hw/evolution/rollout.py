"""Deployment at the end of a window: which of its models each terminal runs next, as ONNX and in force."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nestevo_hw.evolution.dispatch import Batch
from nestevo_hw.evolution.server import Server
from nestevo_hw.evolution.steps.deploying import ExportRequest, RankRequest, RankResult, SelectRequest, SelectResult
from nestevo_hw.evolution.steps.table import EXPORT, RANK, SELECT
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
        supervision: what each terminal learns from; a terminal without any is given its evolved model untried.
    """

    def __init__(self, window: "Window", server: Server, supervision: Mapping[str, Path]) -> None:
        self._window, self._server, self._supervision = window, server, supervision
        self._ranked: Batch[RankRequest, RankResult] | None = None

    def ranking(self) -> Batch[RankRequest, RankResult]:
        """To compare the models that each evolved one could replace, where there are several.

        They do not change while it learns, so this can run beside that.
        """
        requests = {
            name: RankRequest(
                candidates=self._replaced(name),
                upload=self._window.file(name, "upload.safetensors"),
                supervision=self._supervision[name],
            )
            for name in self._window.names
            if self._is_judged(name) and self._window.held_back(name) and len(self._replaced(name)) > 1
        }
        self._ranked = Batch(step=RANK, window=self._window.number, requests=requests)
        return self._ranked

    def deploy(self, evolved: Mapping[str, Path]) -> None:
        """Bring the best model of each terminal into force.

        Args:
            evolved: checkpoint of each terminal that has evolved.
        """
        if self._ranked is None:
            self._window.run_together(self.ranking())
        models = {**evolved, **self._chosen(evolved)}
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

    def _chosen(self, evolved: Mapping[str, Path]) -> dict[str, Path]:
        """What does best on frames that it has not learned from, where labels allow a comparison."""
        judged = [name for name in evolved if name in self._window.names and self._is_judged(name)]
        best = {name: self._best(name) for name in judged}
        requests = {
            name: SelectRequest(
                candidates={best[name]: self._replaced(name)[best[name]], "evolved": evolved[name]},
                upload=self._window.file(name, "upload.safetensors"),
                supervision=self._supervision[name],
            )
            for name in judged
            if self._window.held_back(name)
        }
        found = {name: one.value for name, one in (self._window.run(SELECT, requests) if requests else {}).items()}
        # Nothing speaks for a model that learned from the only frame there is.
        found |= {name: SelectResult(chosen=best[name], scores={}, frames=0) for name in judged if name not in requests}
        for name, one in sorted(found.items()):
            self._log(name, one)
        return {name: {**self._replaced(name), "evolved": evolved[name]}[one.chosen] for name, one in found.items()}

    def _is_judged(self, name: str) -> bool:
        return self._window.config.deployment.held_back > 0 and name in self._supervision

    def _replaced(self, name: str) -> dict[Candidate, Path]:
        """What an evolved model could replace; the old model stays where others are no better."""
        adapted = self._window.adapted_models
        return {"old": self._server.models[name], **({"adapted": adapted[name]} if name in adapted else {})}

    def _best(self, name: str) -> Candidate:
        """The best of them, of equals the first, or the last where they have not been compared."""
        scores, replaced = self._ranks(name), list(self._replaced(name))
        return max(replaced, key=lambda one: scores[one]) if scores else replaced[-1]

    def _ranks(self, name: str) -> Mapping[Candidate, float]:
        done = {} if self._ranked is None else self._ranked.done
        return done[name].value.scores if name in done else {}

    def _log(self, name: str, found: SelectResult) -> None:
        self._server.journal.log(
            Select(
                window=self._window.number, terminal=name, chosen=found.chosen, scores=found.scores,
                frames=found.frames, untaught=dict(self._ranks(name)),
            )
        )  # fmt: skip
