"""How well paths of a supernet do: on in-domain frames before a run, on a terminal's labelled frames within it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nestevo_hw.base.jsonlines import Journal
from nestevo_hw.evolution.elastic.config import ElasticTerminalsConfig
from nestevo_hw.models.elastic.space import BranchPath
from nestevo_hw.models.elastic.supernet import Supernet
from nestevo_hw.streams.frame import Annotation
from nestevo_hw.streams.sampling import evenly
from nestevo_hw.tasks.task import VisionTask, headline
from nestevo_hw.terminals.elastic.latency import LatencyModel
from nestevo_hw.terminals.elastic.pool import Pool
from nestevo_hw.terminals.elastic.search.evaluation import Evaluated, Evaluations
from nestevo_hw.terminals.elastic.search.problem import Problem
from nestevo_hw.terminals.elastic.search.run import Limits, search
from nestevo_hw.terminals.elastic.search.strategies import STRATEGIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """What paths are compared on."""

    images: Tensor
    """(N, 3, H, W) uint8."""
    labels: Sequence[Annotation]
    classes: int
    task: VisionTask

    def at_most(self, count: int) -> "Frames":
        """So many of them, evenly spread."""
        rows = evenly(range(len(self.images)), count)
        return Frames(
            images=self.images[rows], labels=[self.labels[row] for row in rows], classes=self.classes, task=self.task
        )

    def score(self, model: nn.Module) -> float:
        """The headline score of a model; NaN where there is nothing to find."""
        return headline(self.task.score(self.task.predict(model, self.images), self.labels, self.classes))


def search_paths(
    supernet: Supernet,
    latency: LatencyModel,
    budgets_s: Sequence[float],
    frames: Frames,
    config: ElasticTerminalsConfig,
    journal: Journal[Evaluated],
    seed: int,
) -> Pool:
    """Search for the best path under each of some budgets; what is measured for one is known to the others.

    Args:
        supernet: on the device to compute on.
        latency: times of its paths.
        budgets_s: a frame, seconds; some path fits each.
        frames: labelled in-domain ones.
        config: strategy and evaluations.
        journal: keeps what was measured, so that a killed search goes on.
        seed: of the strategy's draws.

    Returns:
        All that was measured: a path that fits each budget among it.
    """

    def measure(paths: Sequence[BranchPath]) -> list[float]:
        found = []
        for path in paths:
            with supernet.on(path) as model:
                found.append(frames.score(model))
        return found

    evaluations = Evaluations(measure, journal)
    evaluations.of([supernet.space.base])
    for budget_s in sorted(set(budgets_s), reverse=True):
        problem = Problem(supernet.space, latency, budget_s)
        search(STRATEGIES[config.strategy], problem, evaluations, Limits(evaluations=config.evaluations), seed)
        evaluations.of([problem.fastest])
    return Pool.of(evaluations.known.values(), latency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which path does best."""

    index: int
    """Among the live one, 0, and the others."""
    scores: tuple[float, ...]
    """In the same order; NaN where the labels hold nothing to find."""
    model: nn.Module
    """Of the path."""


@torch.no_grad()
def choose_path(
    supernet: Supernet,
    live: nn.Module,
    others: Sequence[BranchPath],
    scene: Tensor,
    frames: Frames,
    margin: float,
    *,
    trained: bool,
) -> Choice:
    """The live path, or another one that is clearly better on labelled frames.

    Others have of the live model what they share with it. Their own branches have not learned with the rest, so each is
    tried with the BatchNorm statistics of the scene: without them none that meets other features than it was built on
    would look any good. So is the live one, unless it has just been trained there.

    Args:
        supernet: that has absorbed the live model, on the device to compute on.
        live: model of the path in force, or of the one that has been trained.
        others: paths.
        scene: (N, 3, H, W) uint8 uploaded frames, of whose labels nothing is taken.
        frames: labelled ones.
        margin: by which another one has to be better.
        trained: whether the live one has been trained on the scene.
    """
    task, scores = frames.task, list[float]()
    best, kept = 0, live
    for index, path in enumerate((None, *others)):
        model = copy.deepcopy(live) if path is None else supernet.model(path)
        if path is not None or not trained:
            task.re_estimate(model, scene)
        scores.append(frames.score(model))
        if not index or scores[index] > (scores[best] if best else scores[0] + margin):
            best, kept = index, model
    return Choice(index=best, scores=tuple(scores), model=kept)
