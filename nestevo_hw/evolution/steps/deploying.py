"""Steps of deployment: which of its models a terminal runs next, terminals averaged with one another, and export."""

from collections.abc import Mapping
from dataclasses import dataclass
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
class RankRequest(Request):
    """Models that an evolved one could replace, and what they are judged by."""

    candidates: Mapping[Candidate, Path]
    """Checkpoints."""
    upload: Path
    supervision: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class RankResult(Result):
    """How they do."""

    scores: dict[Candidate, float]
    """On all uploaded frames, 0 to 1."""


def rank(context: Context, request: RankRequest) -> RankResult:
    """How well models do that have learned from no label of the uploaded frames."""
    images, supervision = load_frames(request.upload).images, load_supervision(request.supervision)
    return RankResult(scores=testimonies(context.task, request.candidates, images, supervision, context.device))


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectRequest(Request):
    """What a terminal could run, and what it is judged by."""

    candidates: Mapping[Candidate, Path]
    """Two checkpoints: of the evolved model, and of the one that it would replace."""
    upload: Path
    supervision: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SelectResult(Result):
    """Which of them it runs."""

    chosen: Candidate
    scores: dict[Candidate, float]
    """On the held-back frames, 0 to 1."""
    frames: int
    """How many those are."""


def select(context: Context, request: SelectRequest) -> SelectResult:
    """Whether the evolved model holds its own on frames from whose labels it has not learned.

    It gives way to a rival that is ahead by more than the margin, and where there is no such frame.
    """
    images, supervision = load_frames(request.upload).images, load_supervision(request.supervision)
    first, (rival,) = context.config.deployment.taught(len(images)), request.candidates.keys() - {"evolved"}
    scores = testimonies(context.task, request.candidates, images[first:], supervision[first:], context.device)
    ahead = scores[rival] - scores["evolved"]
    beaten = ahead > context.config.deployment.margin or first == len(images)
    return SelectResult(chosen=rival if beaten else "evolved", scores=scores, frames=len(images) - first)


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
