"""A supernet from a checkpoint: expanded, distilled, tuned, scored, and written for terminals; killed, it goes on."""

import math
import random
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
from torch import nn

from nestevo_hw import __version__
from nestevo_hw.base.documents import plain, read_json, write_json
from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.interruption import resumable
from nestevo_hw.base.jsonlines import Journal
from nestevo_hw.base.ranges import Range
from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.evolution.elastic.config import PARTS, SUPERNET
from nestevo_hw.evolution.elastic.training import Drawing, distil, tune
from nestevo_hw.evolution.pretrain_frames import FrameSource
from nestevo_hw.evolution.rendering import Render, one_by_one
from nestevo_hw.evolution.training import TrainingPlan
from nestevo_hw.evolution.trigger import thinned
from nestevo_hw.models.checkpoint import digest, load_model, read_spec
from nestevo_hw.models.elastic.chain import find_chain
from nestevo_hw.models.elastic.export import export_parts
from nestevo_hw.models.elastic.space import LONGEST_SPAN, BranchPath
from nestevo_hw.models.elastic.store import load_supernet, save_supernet
from nestevo_hw.models.elastic.supernet import RATES, SPANS, Supernet, as_inputs, expand, new_branches, recalibrate
from nestevo_hw.streams.augment import Augmentation
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.sampling import evenly
from nestevo_hw.streams.storage import load_frames, save_frames
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.task import headline

HELD_OUT, RESULTS = "held-out.safetensors", "results.json"
STAGES = ("fitted", "distilled", "tuned")
"""Of a supernet, in order; each is a checkpoint until the last is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ElasticConfig:
    """What a supernet is made of, and how it is trained."""

    task: str = "detection"
    seed: int = 0
    spans: tuple[Annotated[int, Range(2, LONGEST_SPAN)], ...] = SPANS
    """Lengths of merged blocks."""
    rates: tuple[Annotated[float, Range(0, 0.9, above=True)], ...] = RATES
    """Of structural pruning of a block."""
    fitted_on: Annotated[int, Range(1, 1000)] = 48
    """Frames to which new blocks are fitted."""
    recalibrated_on: Annotated[int, Range(2, 10_000)] = 64
    """Frames of BatchNorm statistics."""
    drawing: Drawing = "paths"
    """Of the paths that are trained."""
    distil: TrainingPlan = TrainingPlan(steps=400, learning_rate=1e-3)
    tune: TrainingPlan = TrainingPlan(steps=400, learning_rate=3e-4)
    paths: Annotated[int, Range(1, 1000)] = 12
    """Sampled paths that are scored after each stage."""
    scored_on: Annotated[int, Range(1, 10_000)] = 100
    """Held-out frames of these scores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a stage has come to."""

    name: str
    scores: tuple[float | None, ...]
    """Of the sampled paths, on held-out frames; the base comes first. None where there is nothing to find."""
    loss: float | None = None
    """Mean late loss of its training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What a build reports."""

    metric: str
    blocks: int
    branches: int
    paths: int
    size_ratio: float
    """Stored numbers of the supernet over those of the base."""
    sampled: tuple[str, ...]
    """Paths that were scored, by name; the base comes first."""
    stages: tuple[Stage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """One build.

    Args:
        base: checkpoint of the base model.
        source: of the frames.
        out: folder that nobody else uses.
        config: see there.
        device: to train on.
    """

    base: Path
    source: FrameSource
    out: Path
    config: ElasticConfig = field(default_factory=ElasticConfig)
    device: torch.device = torch.device("cpu")

    def run(
        self, *, resume: bool = False, render: Render = one_by_one, tell: Callable[[str], None] = lambda _: None
    ) -> Built:
        """Make what is not there yet: supernet, parts, held-out frames and results.

        Args:
            resume: go on with what is there.
            render: how embedded streams are rendered.
            tell: told what has been done.

        Raises:
            ConfigError: the folder holds an unfinished build or one of another configuration, or none to resume; or
                the frames show other classes than the base knows.
            InputError: the base is no chain of basic blocks.
            StoppedError: stopped by Ctrl-C or a signal; what was trained is kept.
        """
        journal = self._journal(self._check(), resume=resume)
        if resume and (self.out / RESULTS).is_file():
            return read_json(self.out / RESULTS, Built, advice="build again into another folder")
        done = {stage.name: stage for stage in journal.records if self._checkpoint(stage.name).is_file()}
        with resumable(self.out, lambda: f"{len(done)} of {len(STAGES)} stages"):
            training, held_out = self._frames(render)
            tell("frames done")
            for name in STAGES:
                if name not in done:
                    done[name] = self._make(name, training, held_out)
                    journal.append(done[name])
                tell(f"{name} done")
            built = self._finish(done, training)
        shutil.rmtree(self.unfinished, ignore_errors=True)
        return built

    @property
    def unfinished(self) -> Path:
        """Folder of what is needed until all is there."""
        return self.out / "unfinished"

    def _checkpoint(self, stage: str) -> Path:
        return self.out / SUPERNET if stage == STAGES[-1] else self.unfinished / f"{stage}.safetensors"

    def _check(self) -> nn.Module:
        """The base model, if anything can come of it."""
        base, spec = load_model(self.base)
        if spec.classes != self.source.classes:
            raise ConfigError(
                f"{self.base} knows the classes {', '.join(spec.classes)}, but the frames show "
                f"{', '.join(self.source.classes)}; name other frames"
            )
        chain = find_chain(base, as_inputs(base, torch.zeros(1, 3, *self.source.size)))
        new_branches(base, chain, spans=self.config.spans, rates=self.config.rates)
        return base

    def _journal(self, base: nn.Module, *, resume: bool) -> Journal[Stage]:
        path = self.out / "journal.jsonl"
        if resume and not path.is_file():
            raise ConfigError(f"{self.out} holds no build to resume; leave --resume out")
        if not resume and self.unfinished.exists():
            raise ConfigError(f"{self.out} holds an unfinished build; add --resume to go on, or choose another --out")
        identity = {
            "base": digest(base), "config": self.config, "frames": self.source.origin,
            "version": __version__,
        }  # fmt: skip
        return Journal(path, Stage, identity, holds="stages", resume=resume)

    def _frames(self, render: Render) -> tuple[FrameBatch, FrameBatch]:
        training, held_out = self.unfinished / "training-frames.safetensors", self.out / HELD_OUT
        if not (training.is_file() and held_out.is_file()):
            self.unfinished.mkdir(parents=True, exist_ok=True)
            batches = self.source.read(render)
            save_frames(batches[1], held_out)
            save_frames(batches[0], training)
        return load_frames(training), load_frames(held_out)

    def _make(self, stage: str, training: FrameBatch, held_out: FrameBatch) -> Stage:
        config, loss = self.config, None
        spec = read_spec(self.base)
        task = task_named(config.task)
        if training.truth is None:
            raise InputError("a supernet is tuned on labelled frames, but these have no labels")
        if stage == STAGES[0]:
            some = thinned(training.images, config.fitted_on).float() / 255
            supernet = expand(load_model(self.base)[0], some, spans=config.spans, rates=config.rates)
        else:
            supernet, _ = load_supernet(self._checkpoint(STAGES[STAGES.index(stage) - 1]))
            how = Augmentation(flip=task.augmentation.flip)
            state = self.unfinished / f"{stage}-training.safetensors"
            supernet.to(self.device)
            if stage == STAGES[1]:
                loss = distil(supernet, training.images, config.distil, how, seed=config.seed, state=state,
                              drawing=config.drawing)  # fmt: skip
            else:
                loss = tune(task, supernet, training.images, training.truth, config.tune, how, seed=config.seed,
                            state=state, drawing=config.drawing)  # fmt: skip
            supernet.cpu()
            calm = thinned(training.images, config.recalibrated_on).float() / 255
            recalibrate(supernet, calm, random.Random(derive_seed(config.seed, "statistics", stage)))
        save_supernet(supernet, spec, self._checkpoint(stage), notes={"stage": stage, "seed": str(config.seed)})
        return Stage(name=stage, scores=self._scores(supernet, held_out), loss=loss)

    def _scores(self, supernet: Supernet, held_out: FrameBatch) -> tuple[float | None, ...]:
        task, truth = task_named(self.config.task), held_out.truth
        rows = evenly(range(len(held_out.images)), self.config.scored_on)
        assert truth is not None
        wanted, classes = [truth[row] for row in rows], len(self.source.classes)
        found = []
        for path in self._sampled(supernet):
            with supernet.on(path) as model:
                found.append(headline(task.score(task.predict(model, held_out.images[rows]), wanted, classes)))
        return tuple(None if math.isnan(score) else score for score in found)

    def _sampled(self, supernet: Supernet) -> list[BranchPath]:
        drawn = random.Random(derive_seed(self.config.seed, "scored paths"))
        return [supernet.space.base, *(supernet.space.sample(drawn) for _ in range(self.config.paths))]

    def _finish(self, done: Mapping[str, Stage], training: FrameBatch) -> Built:
        supernet, spec = load_supernet(self.out / SUPERNET)
        export_parts(supernet, spec, self.out / PARTS, training.images[0].float() / 255)
        built = Built(
            metric=task_named(self.config.task).metric, blocks=supernet.space.blocks,
            branches=len(supernet.space.branches), paths=supernet.space.count, size_ratio=supernet.size.ratio,
            sampled=tuple("+".join(branch.name for branch in path) for path in self._sampled(supernet)),
            stages=tuple(done[name] for name in STAGES),
        )  # fmt: skip
        write_json(self.out / RESULTS, plain(built))
        return built
