"""What a run can tell: one typed record for each kind of event in metrics.jsonl."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from nestevo_hw.base.documents import plain
from nestevo_hw.base.ranges import MOST_WINDOWS, Range

TEACHER = "teacher"
"""Name of the global teacher among the models of a run."""


def _nan_if_missing(value: object) -> object:
    return math.nan if value is None else value


def _setup_if_missing(value: object) -> object:
    return SETUP if value is None else value


def _within(least: float, most: float) -> AfterValidator:
    """Hold what was measured to a range; NaN, which was not, passes."""

    def check(value: float) -> float:
        if value < least or value > most:
            limits = {"least": f"{least:g}", "most": f"{most:g}"}
            raise PydanticCustomError("range", "Input should be a number from {least} to {most}", limits)
        return value

    return AfterValidator(check)


SETUP = -1
"""Window of what happens before the first one; null in the file."""
MOST = 1e18
"""Above all that can be measured in bytes, seconds or joules."""
Window = Annotated[int, Range(SETUP, MOST_WINDOWS), BeforeValidator(_setup_if_missing)]
"""Number of an evolution window, from 0, or SETUP."""
Number = Annotated[float, Field(strict=True), _within(-MOST, MOST), BeforeValidator(_nan_if_missing)]
"""A float that is NaN where the file says null: not measured, or not defined."""
Score = Annotated[float, Field(strict=True), _within(0.0, 1.0), BeforeValidator(_nan_if_missing)]
"""The same of a score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Accuracy of one model on one terminal's test frames."""

    window: Window
    model: str
    """TEACHER or the name of a terminal."""
    scene: str
    """Terminal whose frames these are."""
    stage: Literal["before", "adapted", "after", "onnx"]
    """Old model, the one that runs while the terminal evolves, evolved model, or that as run by ONNX Runtime."""
    score: Score
    """By the task's headline metric, 0 to 1: mAP@0.50 or accuracy."""
    metrics: dict[str, Number] = field(default_factory=dict)
    """All scores by metric."""
    frames: int = 0
    scene_norm: bool = False
    """Whether a teacher was scored with the BatchNorm statistics of the scene's frames."""


Basis = Literal["compared", "blind", "nothing to compare"]
"""What the word on a terminal's drift rests on: its features; that the teacher detects far less than on in-domain
frames; or neither, as too few objects were to be expected. The last two count as drift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Drift score of one terminal against its threshold (eq. 11, 12)."""

    window: Window
    terminal: str
    score: Number
    """NaN where no class could be compared."""
    threshold: Number
    drifted: bool
    basis: Basis = "compared"
    left_out: tuple[str, ...] = ()
    """Classes with too few objects to compare."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Which evolution a window asked for (eq. 13)."""

    window: Window
    drifted: int
    """Terminals that drifted."""
    epsilon: int
    """Drifted terminals from which on the teacher evolves too."""
    mode: str
    group: str = ""
    """Group of terminals that share a teacher; "" where there is only one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Benefit:
    """Which evolution a window asked for, by what is expected of it."""

    window: Window
    sure: Number
    """Labels a frame that the teacher is sure of, of those on in-domain frames."""
    least: Number
    """Below which the teacher adapts."""
    mode: str
    group: str = ""
    """Group of terminals that share a teacher; "" where there is only one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """Training of the data generator (Algorithm 1)."""

    window: Window
    label_loss: Number = math.nan
    emd_before: Number = math.nan
    """Earth mover's distance between the terminals' label distributions, as uploaded."""
    emd_after: Number = math.nan
    """The same with generated samples added."""
    feature_emd_before: Number = math.nan
    """Earth mover's distance between the features of the terminals' objects, in units of their spread."""
    feature_emd_after: Number = math.nan
    """The same with generated features added. Sets that share a part are nearer by it, whatever the generator is."""
    overall_emd_before: Number = math.nan
    """Earth mover's distance from the features of each terminal's objects to those of all terminals together."""
    overall_emd_after: Number = math.nan
    """The same with generated features added to a terminal's; lower only where these are like real ones."""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRun:
    """One piece of scheduled work; times in seconds since the start of the run."""

    window: Window
    name: str
    kind: str
    terminal: str | None = None
    submitted_s: Number = math.nan
    started_s: Number = math.nan
    ended_s: Number = math.nan
    worker: Annotated[int, Field(strict=True, ge=0, lt=MOST_WINDOWS)] | None = None
    predicted_s: Number = math.nan
    predicted_bytes: Number = math.nan
    """Of a GPU's memory where the task could have one, else of main memory."""
    guessed: bool = False
    """Whether the predictions are first guesses, as nothing was known of its like."""
    peak_bytes: Number = math.nan
    """Of main memory."""
    gpu_peak_bytes: Number = math.nan
    """Of its GPU's memory, context included; NaN without one."""

    @property
    def held_bytes(self) -> float:
        """Peak of the memory that was predicted."""
        return self.peak_bytes if math.isnan(self.gpu_peak_bytes) else self.gpu_peak_bytes

    def __post_init__(self) -> None:
        if self.ended_s < self.started_s:
            raise ValueError(f"the task ends at {self.ended_s:g} s, before it starts at {self.started_s:g} s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A teacher written onto the crossbar, for the first time or again."""

    window: Window
    generation: int
    analog: str
    tile: int | tuple[int, int] = 0
    tiles: int | None = None
    weight_error: Number = math.nan
    """RMS error of the programmed weights, relative."""
    age_s: Number = math.nan
    """At the first label, seconds."""
    cause: str = ""
    """first, refresh or new teacher."""
    score: Number = math.nan
    """Score on in-domain frames right after programming."""
    chip: str = ""
    """Whose figures model the cost."""
    time_s: Number = math.nan
    energy_j: Number = math.nan
    wear: Number = math.nan
    """Share of the cells' endurance used up."""
    differences: tuple[str, ...] = ()
    """What is simulated otherwise than the chip is costed, a line each."""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """State of the teacher before a window's labels, and whether it was programmed again."""

    window: Window
    policy: str
    refreshed: bool
    reason: str = ""
    generation: int = 0
    age_s: Number = math.nan
    """Since its last programming, had it not been programmed again."""
    score: Number = math.nan
    """Score on in-domain frames at that age."""
    fresh_score: Number = math.nan
    """The same right after its last programming."""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deploy:
    """Validation gate in front of a new teacher: accuracy of old, new and first one on held-out labelled frames."""

    window: Window
    accepted: bool
    gate_before: Number = math.nan
    gate_after: Number = math.nan
    gate_first: Number = math.nan
    reason: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """Life-cycle performance of one terminal over one window (eq. 6-8)."""

    window: Window
    terminal: str
    lcp: Number = math.nan
    window_s: Number = math.nan
    evolving_s: Number = math.nan
    adapted_s: Number = math.nan
    """From the request until the model that runs meanwhile is in force; NaN where the old one stays."""
    parts: dict[str, Number] = field(default_factory=dict)
    """Parts of the evolution delay, seconds."""
    origins: dict[str, str] = field(default_factory=dict)
    """Whether each part is measured, modelled or partly modelled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """Groups of terminals with a teacher each (eq. 3, 4)."""

    by: str
    groups: dict[str, tuple[str, ...]]
    window: Window = SETUP


@dataclass(frozen=True, slots=True, kw_only=True)
class Sense:
    """What a terminal made of its own accuracy before a window, without any label."""

    window: Window
    terminal: str
    remains: Number
    """Share of its accuracy that seems left since it was last known to do well, 0 to 1."""
    requests: bool
    """Whether that is little enough to ask for evolution."""
    agreement: Number = math.nan
    confidence: Number = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class Reuse:
    """Whether a terminal began from an earlier model of its own."""

    window: Window
    terminal: str
    reused: bool
    scores: tuple[Number, ...] = ()
    """Agreement with the teacher's labels: of the present model, then of earlier ones, the oldest first."""


Candidate = Literal["evolved", "adapted", "old"]
"""A model that a terminal could run after its evolution: the evolved one, the one that ran meanwhile, the old one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Select:
    """Which model a terminal runs after its evolution."""

    window: Window
    terminal: str
    chosen: Candidate
    scores: dict[Candidate, Score] = field(default_factory=dict)
    """On the held-back frames, without any truth, of the evolved model and the better one of those it could replace."""
    frames: int = 0
    """How many those are."""
    untaught: dict[Candidate, Score] = field(default_factory=dict)
    """On all uploaded frames, of the models that the evolved one could replace."""


ElasticStage = Literal["search", "before", "after"]
"""When a path was chosen: searched for before the first window, before a training of it or after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elastic:
    """Which path of a supernet an elastic terminal has: found before the first window, or chosen around a training."""

    window: Window
    terminal: str
    stage: ElasticStage
    path: str
    left: str = ""
    """The path that it has left; empty where it stays."""
    share: Number = math.nan
    """Time of the path as a share of the base's."""
    budget: Number = math.nan
    """What it may take, the same way."""
    times: str = ""
    """Where the times come from, in words."""
    scores: dict[str, Score] = field(default_factory=dict)
    """By path: what the choice was made by, without any truth but in the search."""
    frames: int = 0
    """Labelled frames that the paths were compared on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """Accuracy of a new model on the test frames of earlier windows."""

    window: Window
    terminal: str
    scores: dict[Annotated[int, Field(ge=0, le=MOST_WINDOWS)], Number]
    """By window; JSON makes texts of these numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    """A terminal whose camera sent nothing of use in a window; it keeps its model."""

    window: Window
    terminal: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Moving:
    """A terminal whose camera moved in a window, so that no background was subtracted from its frames."""

    window: Window
    terminal: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollback:
    """A remote terminal on which its last model did not do; it goes on with an earlier one, and so does the server."""

    window: Window
    terminal: str
    back_to: str
    """Which model, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A task that failed for good, and that the run outlived."""

    window: Window
    kind: str
    terminal: str | None = None
    """Terminal or group that the task served."""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceeded:
    """A task that took more memory than it had reserved; the next like it reserves what it took."""

    window: Window
    kind: str
    terminal: str | None = None
    """Terminal or group that the task served."""
    reserved_bytes: Number = math.nan
    peak_bytes: Number = math.nan
    stopped: bool = False
    """Whether it was stopped, as the machine ran out of memory, to run again alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What became of the label file of one terminal's recording."""

    terminal: str
    file: str
    frames: int = 0
    """Of the recording that are labelled."""
    boxes: int = 0
    """That teach and score."""
    regions: int = 0
    """That score neither right nor wrong."""
    elsewhere: int = 0
    """Images of other recordings in the same file."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Boxes of categories that the class map does not name."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Boxes that cannot be used, by reason."""
    cut: int = 0
    """Boxes that reached beyond their frame."""
    warnings: tuple[str, ...] = ()
    """What should be looked at, one line each."""
    window: Window = SETUP


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """What damage in one terminal's recording has cost."""

    terminal: str
    file: str
    frames: int
    """That were looked at."""
    damaged: int
    """Of them, which others stand in for or which are left out."""
    warnings: tuple[str, ...] = ()
    """What should be looked at, one line each."""
    window: Window = SETUP


Event = (
    Accuracy
    | Drift
    | Decision
    | Benefit
    | Generator
    | TaskRun
    | Program
    | Refresh
    | Deploy
    | Lifecycle
    | Groups
    | Sense
    | Reuse
    | Select
    | Elastic
    | Recall
    | Absent
    | Moving
    | Rollback
    | Failure
    | Exceeded
    | Labels
    | Damage
)


def event_name(kind: type[Event]) -> str:
    """What a kind of event is called in metrics.jsonl."""
    return "task" if kind is TaskRun else kind.__name__.lower()


def event_document(event: Event) -> dict[str, Any]:
    """An event as metrics.jsonl holds it: null for NaN and for the window before the first."""
    window = None if event.window == SETUP else event.window
    return {"event": event_name(type(event)), **plain(event, nan_to_null=True), "window": window}
