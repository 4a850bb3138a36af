"""Steps of a terminal's camera."""

from dataclasses import asdict
from pathlib import Path

from nestevo_hw.evolution.cameras import capture_window, spacing_s
from nestevo_hw.evolution.steps.payload import Payload, Result, opened
from nestevo_hw.evolution.trigger import sense as signals
from nestevo_hw.evolution.trigger import thinned
from nestevo_hw.models.checkpoint import load_model
from nestevo_hw.streams.health import fault_of
from nestevo_hw.streams.storage import load_frames, save_frames


def sense(payload: Payload) -> Result:
    """What a terminal sees of its own accuracy, without any label."""
    config, task = opened(payload)
    model, spec = load_model(Path(payload["model"]))
    images = thinned(load_frames(Path(payload["frames"])).images, config.trigger.frames)
    return asdict(signals(task, model, images, len(spec.classes)))


def capture(payload: Payload) -> Result:
    """A terminal's camera: frames to upload, and later frames of the window that only the evaluation sees.

    Frames that show nothing a camera can see are not written; the result then holds a "fault".
    """
    config, _ = opened(payload)
    name, window = payload["terminal"], payload["window"] or 0
    upload, test = capture_window(config, name, window, frames=payload["frames"])
    fault = fault_of(upload.images)
    if fault is None:
        save_frames(upload.unlabelled(), Path(payload["upload"]))
        save_frames(test, Path(payload["test"]))
        if payload["truth"]:
            save_frames(upload, Path(payload["truth"]))
    return {
        "upload_bytes": upload.images.numel(),
        "frames": len(upload),
        "fault": fault,
        "spacing_s": spacing_s(config, name, upload),
    }
