"""Labelled frames to pre-train on and unseen ones to score on: of the embedded streams by day, or of a video."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.storage import concatenate
from nestevo_hw.streams.video import VideoStream
from nestevo_hw.tasks.named import task_named

PLACES = (
    "campus", "village", "downtown", "crossing", "suburb", "station", "market", "harbour", "school", "park",
)  # fmt: skip
"""Kinds of scenery the embedded teacher is trained on, each in many variants."""
HELD_OUT = 20
"""Frames of each place that are scored on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSource:
    """Where frames come from; none is rendered or decoded before `read`."""

    classes: tuple[str, ...]
    size: tuple[int, int]
    """(H, W) of the frames, pixels."""
    count: int
    """Frames to train on."""
    origin: Mapping[str, object]
    """What the frames depend on, as JSON values."""
    read: Callable[[], tuple[FrameBatch, FrameBatch]]
    """Labelled frames to train on, and unseen ones to score on."""


def embedded_source(task: str, *, seed: int, variants: int, frames_per_scene: int) -> FrameSource:
    """Day frames of the embedded streams of a task.

    Args:
        task: name of the task.
        seed: of the sceneries.
        variants: sceneries of each place.
        frames_per_scene: to train on.
    """
    room = task_named(task)
    size = room.embedded.frame_size

    def read() -> tuple[FrameBatch, FrameBatch]:
        training, held_out = [], []
        for place in PLACES:
            for variant in range(variants):
                own = derive_seed(seed, "pretrain", place, variant)
                stream = room.embedded_stream(name=place, place=place, seed=own, size=size, role="training")
                training.append(stream.read([k * 67 for k in range(frames_per_scene)]))
            unseen = room.embedded_stream(name=place, place=place, seed=derive_seed(seed, "held out", place), size=size)
            held_out.append(unseen.read([k * 61 for k in range(HELD_OUT)]))
        return concatenate(training), concatenate(held_out)

    return FrameSource(
        classes=room.embedded_stream(name=PLACES[0], place=PLACES[0], seed=seed, size=size).classes,
        size=size,
        count=len(PLACES) * variants * frames_per_scene,
        origin={"embedded": list(PLACES)},
        read=read,
    )


def video_source(
    video: Path,
    labels: Path,
    class_map: Mapping[str, str],
    *,
    long_side: int,
    until: int | None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> FrameSource:
    """Labelled frames of a video before `until`: four fifths to train on, the last fifth to score on.

    Raises:
        InputError: the video or its labels cannot be read, or hold too few labelled frames.
    """
    classes = tuple(dict.fromkeys(class_map.values())) or None
    stream = VideoStream(
        name=video.stem, path=video, labels=labels, class_map=class_map, classes=classes, long_side=long_side
    )
    for line in stream.review.warnings if stream.review else ():
        on_warning(line)
    rows = [i for i in stream.labelled_indices if until is None or i < until]
    if len(rows) < 10:
        raise InputError(f"{labels} labels {len(rows)} usable frames of {video}; need at least 10 to train on")
    cut = len(rows) * 4 // 5
    return FrameSource(
        classes=stream.classes,
        size=stream.size,
        count=cut,
        origin={
            "video": str(video), "labels": str(labels), "class_map": dict(class_map), "labelled": len(rows),
            "until": until, "long_side": long_side,
        },
        read=lambda: (stream.read(rows[:cut]), stream.read(rows[cut:])),
    )  # fmt: skip
