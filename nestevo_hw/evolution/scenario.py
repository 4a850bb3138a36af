"""What a run is made of: terminals and their drift, windows, and the in-domain frames of the edge server."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from nestevo_hw.base.choices import one_of, own_name
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.names import check_name
from nestevo_hw.base.ranges import FRAMES, MOST_FRAMES, MOST_WINDOWS, NOT_NEGATIVE, POSITIVE, SHARE, WINDOW, Range
from nestevo_hw.evolution.elastic.config import SHARE_OF_BASE
from nestevo_hw.streams.drift_kinds import DRIFT_KINDS

MBIT_S = Range(0.001, 1e6)
Metres = Annotated[float, Range(-1e9, 1e9)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DriftStep:
    """A change of a terminal's conditions that holds from the start of a window on."""

    window: Annotated[int, WINDOW]
    """First window with this condition."""
    kind: Annotated[str, one_of(DRIFT_KINDS)]
    """docs/catalogue.md lists them."""
    strength: Annotated[float, SHARE]
    """0 (none) to 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A window in which a camera fails."""

    window: Annotated[int, WINDOW]
    kind: Literal["silent", "garbage", "frozen"]
    """It sends nothing, noise, or one frame again and again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalConfig:
    """One camera and the model that runs on it."""

    name: str
    model: str | None = None
    """A shipped name (fasterrcnn-tiny-m1, -m2, -m3) or the path of a checkpoint."""
    latency_budget: Annotated[float, SHARE_OF_BASE] | None = None
    """Instead of a model, what a path of `elastic.supernet` may take, as a share of the time that its base takes."""
    factory: Annotated[str, own_name()] | None = None
    """`package.module:factory` of your own that makes this model, where it is another one than `[model]` names."""
    place: str | None = None
    """Scenery of an embedded stream; of street scenes one of docs/catalogue.md."""
    video: str | None = None
    """Video file instead of an embedded stream."""
    data: str | None = None
    """Images with a class each, in order of time, instead: a folder of class folders, an .npz with arrays x and y, or
    `package.module:loader` of your own (docs/your-task.md). Only the evaluation reads the classes."""
    remote: bool = False
    """A camera elsewhere that sends its frames to `nestevo-hw serve` (docs/serve.md), instead."""
    fps: Annotated[float, Range(1e-6, 1e6)] | None = None
    """Frames a second of the video or data; None: as recorded, or 10 for a folder of images and 1 for data."""
    labels: str | None = None
    """Labels of the video, COCO or BDD100K JSON or a folder of VOC or YOLO files; only the evaluation reads them."""
    class_map: Mapping[str, str] = field(default_factory=dict)
    """Label file's class to model's class; unnamed classes are left out."""
    skew: Annotated[float, SHARE] = 0.0
    """Share of the frames of an embedded stream of single classes that show one class, drawn for the terminal; 0: as
    they come."""
    upload_frames: Annotated[int, Range(0, MOST_FRAMES)] | None = None
    """Frames that it uploads in a window, of the same time; None: `window.upload_frames`. 0: none, so it learns from
    those of another terminal of its group."""
    start_frame: Annotated[int, NOT_NEGATIVE] = 0
    """First frame of the video or data to use."""
    drift: tuple[DriftStep, ...] = ()
    joins: Annotated[int, WINDOW] = 0
    """First window in which it takes part."""
    leaves: Annotated[int, WINDOW] | None = None
    """First window in which it no longer does."""
    outages: tuple[Outage, ...] = ()
    """Failures to try a run against."""
    group: str | None = None
    """Group of terminals with a teacher of their own, for `groups.by = "name"`."""
    position_m: tuple[Metres, Metres] | None = None
    """East and north of a common point, metres, for `groups.by = "place"`."""

    def __post_init__(self) -> None:
        if self.leaves is not None and self.leaves <= self.joins:
            raise ConfigError(
                f"terminal {self.name!r}: need joins < leaves, got joins = {self.joins}, leaves = {self.leaves}"
            )
        if (self.model is None) == (self.latency_budget is None):
            fault = (
                "has neither model nor latency_budget; give one"
                if self.model is None
                else ("has both model and latency_budget; leave one out")
            )
            raise ConfigError(f"terminal {self.name!r} {fault}")
        if self.latency_budget is not None and self.factory is not None:
            raise ConfigError(f"terminal {self.name!r}: factory is of a model; leave it out beside latency_budget")
        if sum(source is not None for source in (self.place, self.video, self.data)) + self.remote != 1:
            raise ConfigError(f"terminal {self.name!r}: give either place, video, data or remote = true")
        if self.remote and (
            self.drift or self.outages or self.upload_frames is not None or self.start_frame or self.fps
        ):
            raise ConfigError(
                f"terminal {self.name!r}: drift, outages, upload_frames, start_frame and fps are of streams that this "
                "machine reads; leave them out of a remote one"
            )
        if self.video is None and (self.labels is not None or self.class_map):
            raise ConfigError(
                f"terminal {self.name!r}: labels and class_map are of a video; leave them out, or give one"
            )
        if self.skew and self.place is None:
            raise ConfigError(f"terminal {self.name!r}: skew is of an embedded stream; give a place, or leave it out")
        if self.place is not None and self.fps is not None:
            raise ConfigError(f"terminal {self.name!r}: fps is of a video or data; leave it out")
        check_name(self.name, "terminals.name")
        if self.group is not None:
            check_name(self.group, f"terminal {self.name!r}: group")


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowConfig:
    """What happens within one evolution window."""

    count: Annotated[int, Range(1, MOST_WINDOWS)] = 2
    """Number of evolution windows."""
    length_s: Annotated[float, POSITIVE] = 600.0
    """Time between two evolution requests, t_total of eq. 6, seconds."""
    hours_apart: Annotated[float, Range(0, 1e6, above=True)] | None = None
    """Hours from the start of one window to the next by the clock that ages the teacher's cells; None: they follow
    one another, `length_s` apart. The stream's frames go on as if no time had passed between windows."""
    upload_frames: Annotated[int, FRAMES] = 96
    """Unlabelled frames each terminal uploads at the start of a window."""
    upload_spacing: Annotated[int, FRAMES] = 5
    """Frames of the stream between two uploaded ones."""
    test_frames: Annotated[int, FRAMES] = 60
    """Later frames of the same window, used by nobody but the evaluation."""
    recalled: Annotated[int, WINDOW] = 2
    """Earlier windows on whose test frames a new model is scored as well, to see what it has forgotten."""
    batch_norm_adaptation: bool = True
    """Send terminals the BatchNorm statistics of their new frames at once, to run with until they have evolved. Only
    methods that evolve the teacher take the time for it."""

    def __post_init__(self) -> None:
        if self.interval_s < self.length_s:
            raise ConfigError(
                f"window: hours_apart = {self.hours_apart} is shorter than a window of {self.length_s:g} s; "
                "windows may not overlap"
            )

    @property
    def segment_frames(self) -> int:
        """Frames of the stream from which the uploaded ones are taken."""
        return self.upload_frames * self.upload_spacing

    @property
    def interval_s(self) -> float:
        """From the start of one window to the next by the clock, seconds."""
        return self.length_s if self.hours_apart is None else 3600.0 * self.hours_apart

    def start_s(self, window: int) -> float:
        """When a window starts by the clock, seconds; the first one at 0."""
        return window * self.interval_s


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceConfig:
    """Labelled in-domain frames the edge server keeps: calibration, drift threshold, validation gate, replay."""

    places: tuple[str, ...] = (
        "campus", "village", "downtown", "crossing", "suburb", "station", "market", "harbour", "school", "park",
    )  # fmt: skip
    """Sceneries of embedded streams, by day."""
    data: str | None = None
    """Images with a class each for terminals with `data` of their own, held apart from them: what `data` of a terminal
    may be. Without it, what lies before each terminal's `start_frame`."""
    segments: Annotated[int, Range(1, 10_000)] = 20
    """At most so many parts of `data`, each of `frames_per_segment` images spread over all of it."""
    frames_per_segment: Annotated[int, FRAMES] = 24
    segments_per_place: Annotated[int, Range(1, 1000)] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """Models of the user's own architecture."""

    factory: Annotated[str, own_name()] | None = None
    """`package.module:factory` that makes teacher and terminals, of which `model` names the checkpoints. Those say so
    themselves; no other code of theirs is run than what stands here. None: models of the zoo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkConfig:
    """Network between terminal and edge server; its times are modelled, not measured."""

    upload_mbit_s: Annotated[float, MBIT_S] = 20.0
    download_mbit_s: Annotated[float, MBIT_S] = 50.0
