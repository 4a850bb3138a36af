"""How a run divides clips of the user's own: what is in them decides its windows, in-domain frames and classes."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise, product
from pathlib import Path

from nestevo_hw.base.errors import InputError
from nestevo_hw.base.names import file_part
from nestevo_hw.evolution.cameras import SETTLE_FRAMES, first_tested
from nestevo_hw.report.records.terminal import TEACHER
from nestevo_hw.streams.video import VideoStream

LONGEST_S = 600.0
"""Of a window, as the embedded default has it."""
MOST_UPLOADED, MOST_TESTED, MOST_OF_SEGMENT = 96, 60, 12
"""Frames of a window that are uploaded and tested, as the embedded default has them, and of an in-domain segment."""
SEGMENTS, LEAST_SEGMENTS = 20, 10
"""In-domain ones of all clips together; the fewer just calibrate a drift threshold with a false-alarm rate of 0.1."""
_COMFORTABLE, _LEAST = (24, 10, 4), (8, 4, 2)
"""Uploaded, tested and frames a segment that a plan should have, and that it must have."""
_WINDOWS, _IN_DOMAIN = (2, 1), (0.4, 0.5, 0.6, 0.3)
"""Numbers of windows, and shares of a clip before the first one, in the order in which they are tried."""
SAME = (
    ("pedestrian", "person", "people", "human"), ("car", "automobile"), ("cyclist", "bicyclist", "rider"),
    ("bicycle", "bike"), ("motorcycle", "motorbike"), ("traffic light", "traffic_light"), ("traffic sign", "stop sign"),
)  # fmt: skip
"""Names of classes that mean the same."""
NEAR = {
    "car": ("truck", "bus", "van", "vehicle", "taxi", "pickup", "other vehicle", "trailer", "suv"),
    "cyclist": ("bicycle", "bike", "motorcycle", "motorbike", "motorcyclist"),
    "person": ("rider", "cyclist", "other person", "crowd"),
}
"""Names that may be meant by a class, or not: a bicycle without its rider is no cyclist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """What is known of a recording."""

    name: str
    """Of its terminal."""
    video: str
    labels: str | None
    length: int
    fps: float
    size: tuple[int, int]
    """(H, W) as recorded."""
    labelled: tuple[int, ...]
    """Frames with labels, ascending."""
    boxes: Mapping[str, int]
    """Boxes of each of the labels' categories."""

    @property
    def candidates(self) -> Sequence[int]:
        """Frames to be scored on and to be in-domain: labelled ones where there are any."""
        return self.labelled or range(self.length)

    def unlabelled(self) -> "Clip":
        """The same without what its labels say."""
        return replace(self, labelled=(), boxes={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a run divides its clips."""

    windows: int
    length_s: float
    upload_frames: int
    upload_spacing: int
    test_frames: int
    segments_per_place: int
    frames_per_segment: int
    starts: tuple[int, ...]
    """`start_frame` of each clip."""

    def has(self, least: tuple[int, int, int]) -> bool:
        """Whether there are as many uploaded and tested frames, and frames a segment."""
        found = (self.upload_frames, self.test_frames, self.frames_per_segment)
        return all(own >= wanted for own, wanted in zip(found, least, strict=True))


def look(videos: Sequence[Path], labels: Sequence[Path]) -> list[Clip]:
    """Open recordings and their labels.

    Args:
        videos: files or folders of images.
        labels: one for each, one for all, or none.

    Raises:
        InputError: one cannot be read, or labels do not belong to their recording.
    """
    found: list[Clip] = []
    for number, video in enumerate(videos):
        own = labels[number] if len(labels) > 1 else labels[0] if labels else None
        stream = VideoStream(name=video.stem, path=video, labels=own)
        name = _free_name(video.stem, [clip.name for clip in found])
        found.append(
            Clip(
                name=name, video=str(video), labels=None if own is None else str(own), length=stream.length or 0,
                fps=stream.fps, size=stream.native_size, labelled=stream.labelled_indices, boxes=stream.counts,
            )
        )  # fmt: skip
    return found


def fit(clips: Sequence[Clip]) -> tuple[list[Clip], Plan]:
    """A plan for clips; those whose labels no plan can use go without.

    Raises:
        InputError: a clip is too short for anything.
    """
    chosen = list(clips)
    plan = _fit(chosen)
    if plan is None:
        chosen = [clip if not clip.labelled or _fit([clip]) else clip.unlabelled() for clip in clips]
        plan = _fit(chosen) or _fit(chosen := [clip.unlabelled() for clip in clips])
    if plan is None:
        short = min(clips, key=lambda clip: clip.length / clip.fps)
        least = next(n for n in count(1) if _fit([replace(short.unlabelled(), length=n)]))
        raise InputError(
            f"{short.video} has {short.length} frames ({short.length / short.fps:.1f} s), too few for one window and "
            f"in-domain frames before it, which take {least}; give a longer clip"
        )
    return chosen, plan


def _fit(clips: Sequence[Clip]) -> Plan | None:
    """The first plan that is comfortable, else the first that is possible."""
    plans = [
        plan for windows, share in product(_WINDOWS, _IN_DOMAIN)
        if (plan := _divided(clips, windows, share)) is not None and plan.has(_LEAST)
    ]  # fmt: skip
    return next((plan for plan in plans if plan.has(_COMFORTABLE)), plans[0] if plans else None)


def _divided(clips: Sequence[Clip], windows: int, share: float) -> Plan | None:
    """A plan with so many windows, before which lies this share of each clip; None if there is no room."""
    spans = [(clip.candidates[0], clip.candidates[-1] + 1) for clip in clips]
    length_s = min((end - begin) * (1 - share) / windows / c.fps for c, (begin, end) in zip(clips, spans, strict=True))
    length_s = min(LONGEST_S, int(100 * length_s) / 100)
    starts = [end - round(windows * length_s * clip.fps) for clip, (_, end) in zip(clips, spans, strict=True)]
    edges = [[s + round(w * length_s * c.fps) for w in range(windows + 1)] for c, s in zip(clips, starts, strict=True)]
    least = min(after - before for own in edges for before, after in pairwise(own))
    room = (least - SETTLE_FRAMES) // 2
    spacing = next((k for k in (5, 3, 2) if room // k >= _COMFORTABLE[0]), 1)
    upload = max(_LEAST[0], min(MOST_UPLOADED, room // spacing))
    tested = [
        _within(clip.candidates, own[w] + first_tested(upload, spacing), own[w + 1])
        for clip, own in zip(clips, edges, strict=True) for w in range(windows)
    ]  # fmt: skip
    before = min(_within(clip.candidates, 0, start) for clip, start in zip(clips, starts, strict=True))
    segments = max(2, -(-SEGMENTS // len(clips)))
    if before // segments < _COMFORTABLE[2]:
        segments = max(2, -(-LEAST_SEGMENTS // len(clips)))
    if length_s <= 0 or min(starts) < 0:
        return None
    return Plan(
        windows=windows, length_s=length_s, upload_frames=upload, upload_spacing=spacing,
        test_frames=min(MOST_TESTED, *tested), segments_per_place=segments,
        frames_per_segment=min(MOST_OF_SEGMENT, before // segments), starts=tuple(starts),
    )  # fmt: skip


def _within(frames: Sequence[int], first: int, end: int) -> int:
    return max(0, bisect_left(frames, end) - bisect_left(frames, first))


def map_classes(boxes: Mapping[str, int], classes: Sequence[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Which of a model's classes the labels' categories are.

    Returns:
        class by category; and of every other category, why it has none.
    """
    mapped, others = dict[str, str](), dict[str, str]()
    for category in boxes:
        equal = [c for c in classes if c.casefold() == category.casefold()] or [
            c for c in classes if any({c.casefold(), category.casefold()} <= set(names) for names in SAME)
        ]
        near = [c for c in classes if category.casefold() in NEAR.get(_meaning(c), ())]
        if equal:
            mapped[category] = equal[0]
        else:
            others[category] = f"perhaps {near[0]}" if near else "none of the models' classes"
    return mapped, others


def _meaning(name: str) -> str:
    """The name under which a class stands in NEAR."""
    folded = name.casefold()
    return next((key for key in NEAR for names in SAME if {folded, key} <= set(names)), folded)


def _free_name(stem: str, taken: Sequence[str]) -> str:
    """A legal name after a file's that no other terminal has."""
    name = file_part(stem)[:60].strip("-_") or "camera"
    used = {other.casefold() for other in (TEACHER, *taken)}
    return next(n for n in (name, *(f"{name}-{k}" for k in range(2, 10_000))) if n.casefold() not in used)
