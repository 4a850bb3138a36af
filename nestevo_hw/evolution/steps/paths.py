"""Steps of elastic terminals: their supernet timed and searched once, and a path chosen again around every training."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nestevo_hw.base.jsonlines import Journal
from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.base.stats import or_none
from nestevo_hw.evolution.elastic.choosing import Frames, choose_path, search_paths
from nestevo_hw.evolution.elastic.latency import branch_times, shares_of_base
from nestevo_hw.evolution.steps.step import Context, Request, Result
from nestevo_hw.models.checkpoint import ModelSpec, load_model, save_model
from nestevo_hw.models.elastic.space import BranchPath, PathSpace
from nestevo_hw.models.elastic.store import load_supernet, save_path, save_supernet
from nestevo_hw.models.elastic.structure import Blocks
from nestevo_hw.models.onnx.manifest import sha256
from nestevo_hw.streams.storage import load_frames
from nestevo_hw.tasks.supervision import load_supervision
from nestevo_hw.terminals.elastic.latency import LatencyModel
from nestevo_hw.terminals.elastic.pool import Candidate
from nestevo_hw.terminals.elastic.search.evaluation import Evaluated


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePathsRequest(Request):
    """A supernet, and models whose times are to be its budgets."""

    supernet: Path
    models: Mapping[str, Path]
    """Checkpoints by terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePathsResult(Result):
    """How long paths take: all that later decides rests on this, so a resumed run decides alike."""

    space: PathSpace
    latency: LatencyModel
    shares: dict[str, float]
    """Of each model, as a share of the base's time."""
    sha256: str
    """Of the supernet's file."""


def time_paths(context: Context, request: TimePathsRequest) -> TimePathsResult:
    """Time a supernet's branches, and models beside its base."""
    supernet, _ = load_supernet(request.supernet)
    elastic, size = context.config.elastic, context.config.frame_size
    latency = branch_times(elastic, supernet, size, context.config.seed)
    models = {name: load_model(path)[0] for name, path in request.models.items()}
    shares = shares_of_base(elastic, supernet, models, size) if models else {}
    return TimePathsResult(space=supernet.space, latency=latency, shares=shares, sha256=sha256(request.supernet))


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPathsRequest(Request):
    """What is searched for, and on what."""

    supernet: Path
    sha256: str
    latency: LatencyModel
    budgets_s: Mapping[str, float]
    """By terminal."""
    reference: Path
    """Labelled in-domain frames."""
    journal: Path
    """Of what has been measured."""
    models: Mapping[str, Path]
    """Where each terminal's model is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPathsResult(Result):
    """What the search came to."""

    pool: tuple[Candidate, ...]
    """All that was measured."""
    paths: dict[str, BranchPath]
    """Of each terminal."""
    frames: int
    """On which accuracies were measured."""


def search_for_paths(context: Context, request: SearchPathsRequest) -> SearchPathsResult:
    """Search for the best path of each terminal on in-domain frames, and write their models."""
    config, elastic = context.config, context.config.elastic
    supernet, spec = load_supernet(request.supernet)
    reference = load_frames(request.reference)
    assert reference.truth is not None
    frames = Frames(
        images=reference.images, labels=reference.truth, classes=len(spec.classes), task=context.task
    ).at_most(elastic.frames)
    identity = {
        "supernet": request.sha256, "frames": elastic.frames, "reference": sha256(request.reference),
        "budgets": dict(request.budgets_s), "search": [elastic.strategy, elastic.evaluations], "seed": config.seed,
    }  # fmt: skip
    journal = Journal(request.journal, Evaluated, identity, holds="a search", resume=True)
    pool = search_paths(
        supernet.to(context.device), request.latency, list(request.budgets_s.values()), frames, elastic, journal,
        derive_seed(config.seed, "paths"),
    )  # fmt: skip
    paths = {name: pool.within(budget_s).candidates[0].path for name, budget_s in request.budgets_s.items()}
    for name, path in paths.items():
        save_path(supernet, spec, path, request.models[name])
    return SearchPathsResult(pool=pool.candidates, paths=paths, frames=len(frames.images))


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoosePathRequest(Request):
    """The path of a terminal, others, and what they are compared on."""

    supernet: Path
    """As it was built, or as the terminal's last training has left it."""
    live: Path
    """Checkpoint of the path in force, or of the one that has just been trained."""
    paths: tuple[BranchPath, ...]
    """Of the pool; the live one may be among them."""
    upload: Path
    supervision: Path
    trained: bool
    """Whether the live path has been trained on these frames: then only those that were held back count."""
    chosen_out: Path
    """Where the model of another path is written, if one is chosen."""
    supernet_out: Path | None = None
    """Where the supernet is written with what the live path has learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoosePathResult(Result):
    """Which path does best."""

    live: BranchPath
    chosen: BranchPath
    paths: tuple[BranchPath, ...]
    """That were compared, the live one first."""
    scores: tuple[float | None, ...]
    """Of each; None where the labels hold nothing to find."""
    frames: int


def choose(context: Context, request: ChoosePathRequest) -> ChoosePathResult:
    """Whether another path of the pool does clearly better on a terminal's labelled frames than the live one."""
    config = context.config
    supernet, spec = load_supernet(request.supernet)
    live, live_spec = load_model(request.live)
    path = path_of(live_spec)
    supernet.absorb(path, live)
    if request.supernet_out is not None:
        save_supernet(supernet, spec, request.supernet_out)
    upload, supervision = load_frames(request.upload), load_supervision(request.supervision)
    first = config.deployment.taught(len(upload)) if request.trained else 0
    frames = Frames(
        images=upload.images[first:], labels=[s.annotation for s in supervision[first:]],
        classes=len(spec.classes), task=context.task,
    ).at_most(config.elastic.frames)  # fmt: skip
    others = tuple(other for other in request.paths if other != path)
    choice = choose_path(
        supernet.to(context.device), live.to(context.device), others, context.images(request.upload), frames,
        config.elastic.margin, trained=request.trained,
    )  # fmt: skip
    compared = (path, *others)
    if choice.index:
        blocks = Blocks(names=supernet.chain.names, path=compared[choice.index])
        save_model(choice.model, replace(spec, blocks=blocks), request.chosen_out)
    return ChoosePathResult(
        live=path, chosen=compared[choice.index], paths=compared, scores=tuple(map(or_none, choice.scores)),
        frames=len(frames.images),
    )  # fmt: skip


def path_of(spec: ModelSpec) -> BranchPath:
    """The path that a model of a supernet is."""
    assert spec.blocks is not None
    return spec.blocks.path
