"""Which frames of which stream belong to which part of an evolution window."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.seeding import derive_seed
from nestevo_hw.evolution.config import RunConfig
from nestevo_hw.evolution.scenario import TerminalConfig, WindowConfig
from nestevo_hw.evolution.teaching import known_classes
from nestevo_hw.streams.frame import FrameBatch, Stream
from nestevo_hw.streams.samples.opening import open_samples
from nestevo_hw.streams.samples.stream import FPS, LabelledStream
from nestevo_hw.streams.sampling import evenly
from nestevo_hw.streams.storage import concatenate
from nestevo_hw.streams.video import VideoStream
from nestevo_hw.streams.weather import DriftScript, DriftSegment
from nestevo_hw.tasks.capabilities import EmbeddedStreams, UnequalStreams, require
from nestevo_hw.tasks.named import task_named

SETTLE_FRAMES = 10
"""Frames between the last uploaded and the first test frame, if uploaded ones are no further apart than that."""
REFERENCE_SPACING = 40
"""Frames between two in-domain frames of an embedded stream."""


def open_stream(config: RunConfig, terminal: TerminalConfig) -> Stream:
    """The stream of one terminal, with its drift.

    Raises:
        InputError: a video, its labels or data cannot be read.
        ConfigError: the task has no embedded stream, or a loader of the user's own fails.
    """
    seed = derive_seed(config.seed, "stream", terminal.name)
    if terminal.video is not None:
        return _open_video(config, terminal, drifting=True)
    if terminal.data is not None:
        return _open_data(config, terminal, drifting=True)
    task, place = task_named(config.task), terminal.place or terminal.name
    name, size, drift = terminal.name, config.frame_size, _script(config, terminal, task.embedded.fps)
    if terminal.skew:
        unequal = require(task, UnequalStreams, f"skew of terminal {name!r}")
        return unequal.unequal_stream(name=name, place=place, seed=seed, size=size, drift=drift, skew=terminal.skew)
    embedded = require(task, EmbeddedStreams, f"place of terminal {name!r}")
    return embedded.embedded_stream(name=name, place=place, seed=seed, size=size, drift=drift)


def _open_video(config: RunConfig, terminal: TerminalConfig, *, drifting: bool) -> VideoStream:
    path = Path(terminal.video or "")
    labels = Path(terminal.labels) if terminal.labels else None
    plain = VideoStream(
        name=terminal.name,
        path=path,
        labels=labels,
        class_map=dict(terminal.class_map),
        classes=known_classes(config),
        long_side=max(config.frame_size),
        canvas=config.frame_size if config.same_size else None,
        fps=terminal.fps,
    )
    if not drifting:
        return plain
    return plain.with_drift(
        _script(config, terminal, plain.fps), seed=derive_seed(config.seed, "stream", terminal.name)
    )


def _open_data(config: RunConfig, terminal: TerminalConfig, *, drifting: bool) -> LabelledStream:
    key = f"data of terminal {terminal.name!r}"
    script = _script(config, terminal, terminal.fps or FPS) if drifting else None
    seed = derive_seed(config.seed, "stream", terminal.name)
    return _labelled_stream(config, terminal.data or "", key, name=terminal.name, fps=terminal.fps, drift=script,
                            seed=seed)  # fmt: skip


def _labelled_stream(
    config: RunConfig, data: str, key: str, *, name: str, fps: float | None = None, drift: DriftScript | None = None,
    seed: int = 0,
) -> LabelledStream:  # fmt: skip
    """Data of the user's own as a stream; `key` says where they are named."""
    classes = known_classes(config)
    try:
        source = open_samples(data, classes)
        return LabelledStream(name=name, source=source, classes=classes, size=config.frame_size, fps=fps, drift=drift,
                              seed=seed)  # fmt: skip
    except (ConfigError, InputError) as error:
        raise type(error)(f"{key}: {error}") from error


def _script(config: RunConfig, terminal: TerminalConfig, fps: float) -> DriftScript:
    return DriftScript(
        segments=tuple(
            DriftSegment(start=_window_start(config, terminal, fps, d.window), kind=d.kind, strength=d.strength)
            for d in terminal.drift
        )
    )


def _window_start(config: RunConfig, terminal: TerminalConfig, fps: float, window: int) -> int:
    return terminal.start_frame + round(window * config.window.length_s * fps)


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """Frames of one terminal and window."""

    upload: FrameBatch
    """What the camera sends at the start of the window."""
    test: FrameBatch
    """Later frames, labelled where the stream is, to evaluate on."""
    spacing_s: float
    """Mean time between two uploaded frames, seconds; 0 for fewer than two."""


def capture_window(config: RunConfig, name: str, window: int, *, frames: int | None = None) -> Captured:
    """Frames a terminal uploads at the start of a window, and later ones to evaluate on.

    Args:
        config: of the run.
        name: of the terminal.
        window: number of the window.
        frames: to upload; by default `RunConfig.uploads`.

    Raises:
        ConfigError: the window is too short for its frames, or too long for the stream.
        InputError: the stream has too few labelled frames in it.
    """
    terminal = config.terminal(name)
    stream = open_stream(config, terminal)
    upload, test = plan_window(config, terminal, stream, window, frames=frames)
    sent = stream.read(upload)
    for outage in terminal.outages:
        if outage.window == window:
            sent = _failing(sent, outage.kind, derive_seed(config.seed, "outage", name, window))
    span = sent.indices[-1] - sent.indices[0] if len(sent) > 1 else 0
    return Captured(upload=sent, test=stream.read(test), spacing_s=span / max(len(sent) - 1, 1) / stream.fps)


def later_frames(config: RunConfig, name: str, window: int) -> FrameBatch:
    """What `capture_window` gives to evaluate a terminal on, of one that uploads nothing; with the same errors."""
    terminal = config.terminal(name)
    stream = open_stream(config, terminal)
    return stream.read(plan_window(config, terminal, stream, window, frames=0)[1])


def _failing(frames: FrameBatch, kind: str, seed: int) -> FrameBatch:
    """What a failing camera sends instead of its frames."""
    match kind:
        case "silent":
            images = frames.images[:0]
        case "frozen":
            images = frames.images[:1].expand_as(frames.images)
        case _:
            random = torch.Generator().manual_seed(seed)
            images = torch.randint(0, 256, frames.images.shape, dtype=torch.uint8, generator=random)
    return FrameBatch(images=images, indices=frames.indices[: len(images)])


def first_tested(uploaded: int, spacing: int) -> int:
    """Frames from the first of a window to its first test frame, which lies behind all that could be uploaded.

    Args:
        uploaded: frames of the window's plan.
        spacing: of them.
    """
    return max((uploaded - 1) * spacing + SETTLE_FRAMES, uploaded * spacing)


def plan_window(
    config: RunConfig, terminal: TerminalConfig, stream: Stream, window: int, *, frames: int | None = None
) -> tuple[list[int], list[int]]:
    """Numbers of the frames that `capture_window` reads, with the same errors.

    Of a recording they are decoded, since only that tells which are damaged; the stream keeps them for `read`.
    """
    plan, count = config.window, config.uploads(terminal.name) if frames is None else frames
    first = _window_start(config, terminal, stream.fps, window)
    last = _window_start(config, terminal, stream.fps, window + 1)
    upload = [first + k * plan.segment_frames // count for k in range(count)]
    segment = range(first, first + plan.segment_frames)
    tested = range(first + first_tested(plan.upload_frames, plan.upload_spacing), last)
    if len(tested) < plan.test_frames:
        least_s = (tested.start - first + plan.test_frames + 1) / stream.fps
        raise ConfigError(
            f"terminal {terminal.name!r}: window.length_s = {plan.length_s:g} at {stream.fps:g} frames a second are "
            f"{last - first} frames, too few for {plan.upload_frames} uploaded ones {plan.upload_spacing} apart and "
            f"{plan.test_frames} test frames; raise it to {least_s:.1f}, or lower window.upload_frames, upload_spacing "
            "or test_frames"
        )
    if stream.length is not None and last > stream.length:
        raise ConfigError(
            f"terminal {terminal.name!r}: {terminal.video or terminal.data} has {stream.length} frames but window "
            f"{window} needs {last}; lower window.count, window.length_s or start_frame, or let "
            "`nestevo-hw init --video` choose them"
        )
    labelled = _labelled(stream, tested)
    return (
        _instead(stream, upload, segment),
        _instead(stream, _tested(labelled, plan, window, terminal.name), labelled),
    )


def _instead(stream: Stream, wanted: Sequence[int], candidates: Sequence[int]) -> list[int]:
    """The wanted frames, but for damaged ones of a recording others nearby."""
    return stream.instead(wanted, candidates) if isinstance(stream, VideoStream) else list(wanted)


def check_frames(stream: Stream, *planned: Sequence[int]) -> None:
    """Look at the frames of a recording that a run will read.

    Raises:
        InputError: one cannot be read, is absurdly large, or has another shape than its labels say.
    """
    if isinstance(stream, VideoStream | LabelledStream):
        stream.check(sorted({index for part in planned for index in part}))


def _labelled(stream: Stream, frames: range) -> Sequence[int]:
    """Frames with truth, or all of them where the stream has none at all: then nothing can be scored."""
    if isinstance(stream, VideoStream) and stream.labelled_indices:
        return [i for i in stream.labelled_indices if i in frames]
    return frames


def _tested(candidates: Sequence[int], plan: WindowConfig, window: int, name: str) -> list[int]:
    """The test frames of a window."""
    if len(candidates) < plan.test_frames:
        raise InputError(
            f"terminal {name!r}: window {window} has {len(candidates)} labelled frames to evaluate on but "
            f"window.test_frames = {plan.test_frames}; lower it, or move start_frame so that windows end in labelled "
            "frames"
        )
    return _spread(candidates, plan.test_frames)


def _spread(candidates: Sequence[int], count: int) -> list[int]:
    return [candidates[i] for i in np.linspace(0, len(candidates) - 1, count).round().astype(int)]


def reference_frames(config: RunConfig) -> tuple[FrameBatch, list[slice]]:
    """Labelled in-domain frames, and the segments they consist of, as `plan_reference` has them."""
    batches = [stream.read(rows) for stream, rows in plan_reference(config)]
    ends = np.cumsum([len(b) for b in batches]).tolist()
    return concatenate(batches), [slice(end - len(b), end) for end, b in zip(ends, batches, strict=True)]


def plan_reference(config: RunConfig) -> list[tuple[Stream, list[int]]]:
    """Frames of each in-domain segment.

    Embedded streams show the reference places by day, and so do remote cameras where no data are held apart; videos and
    data show what lies before each terminal's first frame, where no data are held apart for this.

    Raises:
        InputError: a video, its labels or data cannot be read.
    """
    plan, segments = config.reference, list[tuple[Stream, list[int]]]()
    if plan.data is not None:
        segments += _reference_of_data(config, plan.data)
    for terminal in config.terminals:
        stream = _before_start(config, terminal)
        if stream is not None:
            labelled = _labelled(stream, range(terminal.start_frame))
            wanted = plan.segments_per_place * plan.frames_per_segment
            rows = _spread(labelled, min(wanted, len(labelled)))
            rows = _instead(stream, rows, rows)
            parts = np.array_split(np.asarray(rows), plan.segments_per_place)
            segments += [(stream, part.tolist()) for part in parts if len(part)]
    if shows_places(config):
        segments += _embedded_reference(config)
    return segments


def shows_places(config: RunConfig) -> bool:
    """Whether in-domain frames are of the reference places: for embedded streams, and for cameras without others."""
    return any(t.place is not None or (t.remote and config.reference.data is None) for t in config.terminals)


def _before_start(config: RunConfig, terminal: TerminalConfig) -> Stream | None:
    """The stream of whose frames before its start the in-domain ones are; None where they are from elsewhere."""
    if terminal.video is not None:
        return _open_video(config, terminal, drifting=False)
    if terminal.data is not None and config.reference.data is None:
        return _open_data(config, terminal, drifting=False)
    return None


def _reference_of_data(config: RunConfig, data: str) -> Iterator[tuple[Stream, list[int]]]:
    """Each segment is spread over all of the data, so that segments show the classes alike however they are stored."""
    stream = _labelled_stream(config, data, "reference.data", name="reference")
    count, plan = stream.length or 0, config.reference
    shown = stream.shown(range(count))
    missing = [name for name in stream.classes if shown is not None and name not in shown]
    if missing:
        raise InputError(
            f"reference.data: {data} shows no sample of class {missing[0]!r}, which the teacher knows; add some"
        )
    segments = max(1, min(plan.segments, count // plan.frames_per_segment))
    rows = evenly(range(count), segments * plan.frames_per_segment)
    for segment in range(segments):
        yield stream, rows[segment::segments]


def _embedded_reference(config: RunConfig) -> Iterator[tuple[Stream, list[int]]]:
    plan, streams = config.reference, require(task_named(config.task), EmbeddedStreams, "reference.places")
    for place in plan.places:
        stream = streams.embedded_stream(
            name=place,
            place=place,
            seed=derive_seed(config.seed, "reference", place),
            size=config.frame_size,
            role="reference",
        )
        for segment in range(plan.segments_per_place):
            first = segment * plan.frames_per_segment * REFERENCE_SPACING
            yield stream, [first + k * REFERENCE_SPACING for k in range(plan.frames_per_segment)]
