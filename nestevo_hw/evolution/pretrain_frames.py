"""Labelled frames to pre-train on and unseen ones to score on: of the embedded streams by day, or of a video."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.evolution.rendering import Render, Shots
from nestevo_hw.streams.frame import FrameBatch
from nestevo_hw.streams.samples.opening import open_samples
from nestevo_hw.streams.samples.preprocessing import Preprocessing
from nestevo_hw.streams.samples.source import Source
from nestevo_hw.streams.samples.stream import LabelledStream
from nestevo_hw.streams.storage import concatenate
from nestevo_hw.streams.video import VideoStream
from nestevo_hw.tasks.capabilities import EmbeddedStreams, require
from nestevo_hw.tasks.named import task_named

PLACES = (
    "campus", "village", "downtown", "crossing", "suburb", "station", "market", "harbour", "school", "park",
)  # fmt: skip
"""Kinds of scenery the embedded teacher is trained on, each in many variants."""
HELD_OUT = 20
"""Frames of each place that are scored on."""
FIFTH = 5
"""Of data one sample in so many is scored on."""


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
    read: Callable[[Render], tuple[FrameBatch, FrameBatch]]
    """Labelled frames to train on, and unseen ones to score on; told how scenes are to be rendered."""


def embedded_source(
    task: str, *, seed: int, variants: int, frames_per_scene: int, size: tuple[int, int] | None = None
) -> FrameSource:
    """Day frames of the embedded streams of a task.

    Args:
        task: name of the task.
        seed: of the sceneries.
        variants: sceneries of each place.
        frames_per_scene: to train on.
        size: (H, W) of the frames, pixels; None: as the task has it.
    """
    room = require(task_named(task), EmbeddedStreams, "pre-training without --data or --video")
    size = size or task_named(task).embedded.frame_size
    training = [
        Shots(task=task, place=place, seed=derive_seed(seed, "pretrain", place, variant), size=size, role="training",
              indices=tuple(k * 67 for k in range(frames_per_scene)))
        for place in PLACES for variant in range(variants)
    ]  # fmt: skip
    held_out = [
        Shots(task=task, place=place, seed=derive_seed(seed, "held out", place), size=size,
              indices=tuple(k * 61 for k in range(HELD_OUT)))
        for place in PLACES
    ]  # fmt: skip

    def read(render: Render) -> tuple[FrameBatch, FrameBatch]:
        batches = render([*training, *held_out])
        return concatenate(batches[: len(training)]), concatenate(batches[len(training) :])

    return FrameSource(
        classes=room.embedded_stream(name=PLACES[0], place=PLACES[0], seed=seed, size=size).classes,
        size=size,
        count=len(PLACES) * variants * frames_per_scene,
        origin={"embedded": list(PLACES), "size": list(size), "variants": variants, "of a scene": frames_per_scene},
        read=read,
    )


def data_source(data: str, *, classes: Sequence[str] = (), size: tuple[int, int] | None = None) -> FrameSource:
    """Images with a class each: of every five in a row four are trained on and one is scored on.

    Args:
        data: folder of class folders, .npz or `package.module:loader`.
        classes: names in the order of the labels; without them those of the folders, or the numbers.
        size: (H, W) to which images are stretched, pixels; None: that of the first one.

    Raises:
        InputError: the data cannot be read, are too few, or a class is missing in them.
        ConfigError: classes that do not fit, or a loader that fails.
    """
    source = open_samples(data, classes)
    known = source.classes or tuple(classes)
    if not known and source.labels is not None:
        if (last := max(source.labels)) >= source.count:
            raise InputError(f"{data} has label {last} in {source.count} samples; number its classes without gaps")
        known = tuple(str(label) for label in range(last + 1))
    if not known:
        raise ConfigError(f"{data} does not say how many classes there are; name them with --classes")
    stream = LabelledStream(name="data", source=source, classes=known, size=size or _size_of(source))
    rows = range(source.count)
    training, held_out = [row for row in rows if row % FIFTH != FIFTH - 1], list(rows[FIFTH - 1 :: FIFTH])
    if source.count < 2 * FIFTH:
        raise InputError(f"{data} holds {source.count} samples; need at least {2 * FIFTH} to train and score on")
    shown = stream.shown(training)
    missing = next((name for name in known if shown is not None and name not in shown), None)
    if missing is not None:
        raise InputError(f"{data} shows too few samples of class {missing!r} to train on; add some, or leave it out of "
                         "--classes")  # fmt: skip
    return FrameSource(
        classes=known,
        size=stream.size,
        count=len(training),
        origin={"data": data, "samples": source.count, "classes": list(known), "size": list(stream.size)},
        read=lambda _: (stream.read(training), stream.read(held_out)),
    )


def _size_of(source: Source) -> tuple[int, int]:
    """(H, W) of the first image."""
    sample = next(iter(source.read([0], Preprocessing()))).sample
    if not isinstance(sample, Tensor) or sample.ndim != 3:
        raise InputError(f"{source.name} holds no images; give (N, C, H, W), (N, H, W, C) or (N, H, W)")
    return sample.shape[1], sample.shape[2]


def video_source(
    video: Path,
    labels: Path,
    class_map: Mapping[str, str],
    *,
    long_side: int,
    until: int | None,
    classes: tuple[str, ...] | None = None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> FrameSource:
    """Labelled frames of a video before `until`: four fifths to train on, the last fifth to score on.

    `classes` are those that the model knows already, if all that the class map names are among them.

    Raises:
        InputError: the video or its labels cannot be read, or hold too few labelled frames.
    """
    named = tuple(dict.fromkeys(class_map.values()))
    if classes is None or not named or not set(named) <= set(classes):
        classes = named or None
    stream = VideoStream(
        name=video.stem, path=video, labels=labels, class_map=class_map, classes=classes, long_side=long_side
    )
    for line in stream.review.warnings if stream.review else ():
        on_warning(line)
    rows = [i for i in stream.labelled_indices if until is None or i < until]
    if len(rows) < 10:
        raise InputError(f"{labels} labels {len(rows)} usable frames of {video}; need at least 10 to train on")
    cut = len(rows) * 4 // 5

    def read(_: Render) -> tuple[FrameBatch, FrameBatch]:
        whole = [stream.instead(part, part) for part in (rows[:cut], rows[cut:])]
        for line in stream.damage.warnings if stream.damage else ():
            on_warning(line)
        return stream.read(whole[0]), stream.read(whole[1])

    return FrameSource(
        classes=stream.classes,
        size=stream.size,
        count=cut,
        origin={
            "video": str(video), "labels": str(labels), "class_map": dict(class_map), "labelled": len(rows),
            "until": until, "long_side": long_side,
        },
        read=read,
    )  # fmt: skip
