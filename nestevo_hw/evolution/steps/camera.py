"""Steps of a terminal's camera."""

from dataclasses import dataclass
from pathlib import Path

from nestevo_hw.evolution.cameras import capture_window
from nestevo_hw.evolution.steps.step import Context, Request, Result
from nestevo_hw.evolution.trigger import Signals, sense_accuracy, thinned
from nestevo_hw.streams.health import fault_of
from nestevo_hw.streams.storage import load_frames, save_frames


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest(Request):
    """Frames of one terminal and window."""

    frames: int
    """To upload."""
    upload: Path
    test: Path
    truth: Path | None
    """The uploaded frames with their truth, for a method that reads it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureResult(Result):
    """What the camera gave."""

    upload_bytes: int
    frames: int
    fault: str | None
    """Why the frames show nothing that a camera can see; they are not written then."""
    spacing_s: float
    """Mean time between two uploaded frames, seconds; 0 for fewer than two."""


def capture(context: Context, request: CaptureRequest) -> CaptureResult:
    """A terminal's camera: frames to upload, and later frames of the window that only the evaluation sees."""
    captured = capture_window(context.config, context.id.subject, context.id.window or 0, frames=request.frames)
    upload = captured.upload
    fault = fault_of(upload.images)
    if fault is None:
        save_frames(upload.unlabelled(), request.upload)
        save_frames(captured.test, request.test)
        if request.truth:
            save_frames(upload, request.truth)
    return CaptureResult(
        upload_bytes=upload.images.numel(), frames=len(upload), fault=fault, spacing_s=captured.spacing_s
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SenseRequest(Request):
    """A terminal's model and frames to estimate its accuracy on."""

    model: Path
    frames: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SenseResult(Result):
    """What a terminal sees of its own accuracy."""

    signals: Signals


def sense(context: Context, request: SenseRequest) -> SenseResult:
    """What a terminal sees of its own accuracy, without any label."""
    model, spec = context.load(request.model)
    images = thinned(load_frames(request.frames).images, context.config.trigger.frames)
    return SenseResult(signals=sense_accuracy(context.task, model, images, len(spec.classes)))
