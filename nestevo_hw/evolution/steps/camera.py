"""Steps of a terminal's camera."""

from dataclasses import dataclass
from pathlib import Path

from nestevo_hw.evolution.cameras import capture_window, later_frames
from nestevo_hw.evolution.inbox import SHOWN, decoded, read_inbox, usual_gap_s
from nestevo_hw.evolution.steps.step import Context, Request, Result
from nestevo_hw.evolution.trigger import sense_accuracy, thinned
from nestevo_hw.streams.health import fault_of
from nestevo_hw.streams.sampling import evenly
from nestevo_hw.streams.storage import load_frames, save_frames
from nestevo_hw.wire.documents import Estimate
from nestevo_hw.wire.signals import Signals


@dataclass(frozen=True, slots=True, kw_only=True)
class LentFrames:
    """What another terminal has uploaded."""

    of: str
    upload: Path
    truth: Path | None
    frames: int
    spacing_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureRequest(Request):
    """Frames of one terminal and window."""

    frames: int
    """To upload; 0: those that are lent, if any."""
    upload: Path
    test: Path
    truth: Path | None
    """The uploaded frames with their truth, for a method that reads it."""
    inbox: Path | None = None
    """Folder with what a remote terminal has sent; None for a stream that is read here."""
    lent: LentFrames | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptureResult(Result):
    """What the camera gave."""

    upload_bytes: int
    frames: int
    fault: str | None
    """Why the frames show nothing that a camera can see; they are not written then."""
    spacing_s: float
    """Mean time between two uploaded frames, seconds; 0 for fewer than two."""
    lender: str | None = None
    """Terminal whose frames these are; None: its own."""
    estimate: Estimate | None = None
    """What a remote terminal makes of its own accuracy."""
    asked: bool = False
    """Whether a remote terminal asked for this evolution."""
    back_to: int | None = None
    """As `evolution.inbox.Inbox`."""


def capture(context: Context, request: CaptureRequest) -> CaptureResult:
    """A terminal's camera: frames to upload, and later frames of the window that only the evaluation sees."""
    if request.inbox is not None:
        return _received(context, request, request.inbox)
    if request.frames == 0:
        return _borrowed(context, request)
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


def _borrowed(context: Context, request: CaptureRequest) -> CaptureResult:
    """A camera that sends nothing: the frames of another one in their place, and its own later ones."""
    save_frames(later_frames(context.config, context.id.subject, context.id.window or 0), request.test)
    if request.lent is None:
        return CaptureResult(upload_bytes=0, frames=0, fault=None, spacing_s=0.0)
    save_frames(load_frames(request.lent.upload), request.upload)
    if request.truth is not None and request.lent.truth is not None:
        save_frames(load_frames(request.lent.truth), request.truth)
    return CaptureResult(
        upload_bytes=0, frames=request.lent.frames, fault=None, spacing_s=request.lent.spacing_s,
        lender=request.lent.of,
    )  # fmt: skip


def _received(context: Context, request: CaptureRequest, folder: Path) -> CaptureResult:
    """A remote camera: frames that it has sent, a few of which are shown beside what its models find on them."""
    inbox = read_inbox(folder)
    upload, taken_s = decoded(folder, inbox, max(context.config.frame_size), request.frames)
    fault = fault_of(upload.images)
    if fault is None:
        save_frames(upload, request.upload)
        save_frames(upload.part(evenly(range(len(upload)), SHOWN)), request.test)
    return CaptureResult(
        upload_bytes=sum((folder / frame.file).stat().st_size for frame in inbox.frames),
        frames=len(upload),
        fault=fault,
        spacing_s=usual_gap_s(taken_s),
        estimate=inbox.estimate,
        asked=inbox.asked,
        back_to=inbox.back_to,
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
