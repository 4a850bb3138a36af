"""Paths of elastic terminals: which they begin with, and which they take before and after every training."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.stats import or_nan
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.dispatch import Dispatch
from nestevo_hw.evolution.elastic.latency import ORIGINS, budgets_of
from nestevo_hw.evolution.journal import Journal
from nestevo_hw.evolution.layout import RunLayout
from nestevo_hw.evolution.steps.paths import (
    ChoosePathRequest,
    ChoosePathResult,
    SearchPathsRequest,
    TimePathsRequest,
    TimePathsResult,
)
from nestevo_hw.evolution.steps.step import Step
from nestevo_hw.evolution.steps.table import CHOOSE_PATH, CHOOSE_PATH_AGAIN, SEARCH_PATHS, TIME_PATHS
from nestevo_hw.models.checkpoint import resolve_checkpoint
from nestevo_hw.models.elastic.space import BranchPath, path_name
from nestevo_hw.models.onnx.manifest import sha256
from nestevo_hw.report.records.fields import SETUP
from nestevo_hw.report.records.terminal import Elastic, ElasticStage
from nestevo_hw.terminals.elastic.pool import Pool, worth_another_look

if TYPE_CHECKING:
    from nestevo_hw.evolution.window import Window

Models = Mapping[str, Path]
"""Files by terminal."""
_Step = Step[ChoosePathRequest, ChoosePathResult]


class Paths:
    """What is known of the elastic terminals' paths; everything in it follows from results of tasks.

    Of every part of the supernet a terminal has the version that it last ran: stem, blocks and what comes behind them
    as its trainings have left them, and the branches that no path in force had as they were built.
    """

    def __init__(self, config: RunConfig, layout: RunLayout, journal: Journal, dispatch: Dispatch) -> None:
        self._config, self._layout, self._journal, self._dispatch = config, layout, journal, dispatch
        self._names = config.elastic_terminals
        self._supernets = dict.fromkeys(self._names, config.elastic.supernet_file)
        self._learned: dict[str, Path] = {}
        """Supernet of each terminal with what its last training has brought, until that is deployed or not."""
        self._candidates: dict[str, list[BranchPath]] = {}
        """Paths of each terminal that are scored again."""
        self._budgets: dict[str, float] = {}
        """Shares of the base's time."""
        self._timed: TimePathsResult | None = None

    def time(self) -> None:
        """Time the supernet's branches; nothing runs beside this.

        Raises:
            ConfigError: no path keeps to a budget, or the supernet is another one than when the run began.
        """
        if not self._names:
            return
        supernet = self._supernets[self._names[0]]
        unbudgeted = {t.name: t.model for t in self._config.terminals if t.name in self._names and t.model is not None}
        models = {name: resolve_checkpoint(model) for name, model in unbudgeted.items()}
        request = TimePathsRequest(supernet=supernet, models=models)
        timed = self._timed = self._dispatch.run(TIME_PATHS, None, {"": request})[""].value
        if timed.sha256 and sha256(supernet) != timed.sha256:
            raise ConfigError(f"{supernet} is not the supernet that this run began with; put that back, then resume")
        self._budgets = budgets_of(self._config.terminals, timed.space, timed.latency, timed.shares)

    def search(self, reference: Path) -> dict[str, Path]:
        """Find the path that each elastic terminal begins with; its checkpoint.

        Args:
            reference: file of labelled in-domain frames.
        """
        if self._timed is None:
            return {}
        space, latency = self._timed.space, self._timed.latency
        whole_s = latency.time(space.base)
        request = SearchPathsRequest(
            supernet=self._supernets[self._names[0]], sha256=self._timed.sha256, latency=latency,
            budgets_s={name: share * whole_s for name, share in self._budgets.items()}, reference=reference,
            journal=self._layout.path_search, models={name: self._layout.first_path(name) for name in self._names},
        )  # fmt: skip
        found = self._dispatch.run(SEARCH_PATHS, None, {"": request})[""].value
        pool, most = Pool(found.pool), self._config.elastic.candidates
        for name, path in found.paths.items():
            own = pool.within(request.budgets_s[name])
            self._candidates[name] = worth_another_look(own, request.budgets_s[name], best=most) if most else []
            scores = {path_name(one.path): one.accuracy for one in pool.candidates if one.path in (path, space.base)}
            self._log(SETUP, name, "search", (path, path), scores, found.frames)
        return dict(request.models)

    def choose_to_train(self, window: "Window", models: Models, labels: Models) -> dict[str, Path]:
        """Models of other paths to train, for terminals on whose labelled frames one clearly does better.

        Args:
            window: runs the tasks.
            models: that each terminal would begin with.
            labels: supervision of each terminal that has some.
        """
        requests = {
            name: ChoosePathRequest(
                supernet=self._supernets[name], live=models[name], paths=tuple(self._candidates[name]),
                upload=window.file(name, "upload.safetensors"), supervision=labels[name], trained=False,
                chosen_out=window.file(name, "path.safetensors"),
            )
            for name in self._choosing(window, models, labels)
        }  # fmt: skip
        return self._chosen(window, CHOOSE_PATH, requests)

    def choose_to_deploy(self, window: "Window", models: Models, labels: Models) -> dict[str, Path]:
        """The same after a training, by held-back frames: models of other paths to deploy in place of these."""
        requests = {
            name: ChoosePathRequest(
                supernet=self._supernets[name], live=models[name], paths=tuple(self._candidates[name]),
                upload=window.file(name, "upload.safetensors"), supervision=labels[name], trained=True,
                chosen_out=window.file(name, "path-again.safetensors"),
                supernet_out=window.file(name, "supernet.safetensors"),
            )
            for name in self._choosing(window, models, labels)
            if window.held_back(name)
        }  # fmt: skip
        chosen = self._chosen(window, CHOOSE_PATH_AGAIN, requests)
        self._learned = {name: r.supernet_out for name, r in requests.items() if r.supernet_out is not None}
        return chosen

    def evolved(self, name: str) -> None:
        """A terminal runs what its last training has made."""
        if name in self._learned:
            self._supernets[name] = self._learned.pop(name)

    @property
    def files(self) -> set[Path]:
        """That later windows read."""
        return set(self._supernets.values())

    def _choosing(self, window: "Window", models: Models, labels: Models) -> list[str]:
        return [name for name in window.names if self._candidates.get(name) and name in models and name in labels]

    def _chosen(self, window: "Window", step: _Step, requests: Mapping[str, ChoosePathRequest]) -> dict[str, Path]:
        """Run a choice; the models of terminals that take another path than the live one."""
        taken = {}
        for name, finished in (window.run(step, requests) if requests else {}).items():
            found = finished.value
            stage: ElasticStage = "after" if requests[name].trained else "before"
            scores = {path_name(p): or_nan(s) for p, s in zip(found.paths, found.scores, strict=True)}
            self._log(window.number, name, stage, (found.live, found.chosen), scores, found.frames)
            if found.chosen != found.live:
                taken[name] = requests[name].chosen_out
        return taken

    def _log(
        self, number: int, name: str, stage: ElasticStage, change: tuple[BranchPath, BranchPath],
        scores: Mapping[str, float], frames: int,
    ) -> None:  # fmt: skip
        """Log a choice; `change` is from which path to which."""
        assert self._timed is not None
        (live, path), latency, base = change, self._timed.latency, self._timed.space.base
        self._journal.log(
            Elastic(
                window=number,
                terminal=name,
                stage=stage,
                path=path_name(path),
                left="" if path == live else path_name(live),
                share=latency.time(path) / latency.time(base),
                budget=self._budgets[name],
                times=ORIGINS.get(self._config.elastic.latency, "measured elsewhere"),
                scores=dict(scores),
                frames=frames,
            )
        )
