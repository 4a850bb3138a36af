"""Steps of deployment: which of its models a terminal runs next, terminals averaged with one another, and export."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from nestevo_hw.evolution.aggregate import average
from nestevo_hw.evolution.deployment import testimonies
from nestevo_hw.evolution.steps.step import Context, Request, Result
from nestevo_hw.models.checkpoint import load_model, save_model
from nestevo_hw.models.onnx.manifest import Version
from nestevo_hw.report.records.terminal import Candidate
from nestevo_hw.streams.storage import load_frames
from nestevo_hw.tasks.deployment import Deployment, deploy
from nestevo_hw.tasks.supervision import load_supervision


@dataclass(frozen=True, slots=True, kw_only=True)
class AverageRequest(Request):
    """Terminals of one structure."""

    terminals: tuple[Path, ...]
    terminal_out: Path


def average_terminals(_: Context, request: AverageRequest) -> Result:
    """The plain mean of terminals' models, which only exists where all have one structure."""
    model, spec = load_model(request.terminals[0])
    model.load_state_dict(average([load_model(path)[0].state_dict() for path in request.terminals]))
    save_model(model, spec, request.terminal_out)
    return Result()


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectRequest(Request):
    """Models that a terminal could run, and what they are judged by."""

    candidates: Mapping[Candidate, Path]
    """Checkpoints."""
    upload: Path
    supervision: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectResult(Result):
    """Which of them it runs."""

    chosen: Candidate
    scores: dict[Candidate, float]
    """On the held-back frames, 0 to 1, of the evolved model and the better one of those that it could replace."""
    frames: int
    """How many those are."""
    untaught: dict[Candidate, float]
    """On all uploaded frames, of the models that it could replace, where there are several: they have learned from no
    label of these."""


def select(context: Context, request: SelectRequest) -> SelectResult:
    """Which of the models that a terminal could run does best on frames from whose labels it has not learned."""
    images, supervision = load_frames(request.upload).images, load_supervision(request.supervision)
    first = context.config.deployment.taught(len(images))
    judged = partial(testimonies, context.task, device=context.device)
    replaced: dict[Candidate, Path] = {n: path for n, path in request.candidates.items() if n != "evolved"}
    untaught = judged(replaced, images, supervision) if len(replaced) > 1 else {}
    best = _best(replaced, untaught)
    rivals = {name: path for name, path in request.candidates.items() if name in ("evolved", best)}
    scores = judged(rivals, images[first:], supervision[first:])
    ahead = scores[best] - scores["evolved"]
    beaten = ahead > context.config.deployment.margin if best == "adapted" else ahead >= 0
    chosen: Candidate = best if beaten else "evolved"
    return SelectResult(chosen=chosen, scores=scores, frames=len(images) - first, untaught=untaught)


def _best(names: Iterable[Candidate], scores: Mapping[Candidate, float]) -> Candidate:
    """The one with the highest score; a single one needs none."""
    return max(names, key=lambda name: scores.get(name, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest(Request):
    """A terminal's new model."""

    terminal: Path
    upload: Path
    folder: Path
    """What the terminal is sent."""
    version: Version


def export(context: Context, request: ExportRequest) -> Result:
    """Write a terminal's new model as ONNX with its manifest, checked against the model on an uploaded frame."""
    model, spec = load_model(request.terminal)
    config, example = context.config.deployment, load_frames(request.upload).images[0]
    how = Deployment(version=request.version, colour=config.colour, score=config.score)
    deploy(context.task, model, spec, request.folder, example, how)
    return Result(download_bytes=sum(file.stat().st_size for file in request.folder.iterdir()))
