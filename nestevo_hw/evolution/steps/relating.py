"""The step that compares the scenes of a group's terminals."""

from dataclasses import dataclass
from pathlib import Path

from nestevo_hw.evolution.related import SceneStatistics, relative_distances
from nestevo_hw.evolution.steps.step import Context, Request, Result
from nestevo_hw.models.batch_norm import has_batch_norm
from nestevo_hw.streams.storage import load_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class RelateRequest(Request):
    """Frames of a group's terminals, and what to compare them by."""

    model: Path
    """Checkpoint whose features describe them."""
    names: tuple[str, ...]
    """Of the terminals."""
    uploads: tuple[Path, ...]
    """Frames of each of them."""
    reference: Path
    """In-domain frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelateResult(Result):
    """How far scenes lie apart."""

    distances: dict[str, dict[str, float]]
    """By terminal, by other terminal, where in-domain frames lie at 1; empty where the model has no BatchNorm."""


def relate(context: Context, request: RelateRequest) -> RelateResult:
    """How far the scenes of a group's other terminals lie from each one's."""
    model, _ = context.load(request.model)
    if not has_batch_norm(model):
        return RelateResult(distances={})

    def seen(path: Path) -> SceneStatistics:
        return SceneStatistics.of(context.task, model, load_frames(path).images, context.device)

    scenes = {name: seen(path) for name, path in zip(request.names, request.uploads, strict=True)}
    return RelateResult(distances=relative_distances(scenes, seen(request.reference)))
