"""Records of models and the terminals that run them: accuracy, what they run next, and what kept them from evolving."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field

from nestevo_hw.base.ranges import MOST_WINDOWS
from nestevo_hw.report.records.fields import Number, Score, Window

TEACHER = "teacher"
"""Name of the global teacher among the models of a run."""


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
    """On all uploaded frames, of the models that the evolved one could replace, where there are several."""


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
class Borrowed:
    """A terminal that uploads nothing, and has learned from another one's frames in a window."""

    window: Window
    terminal: str
    of: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Related:
    """Whose labelled frames a terminal has learned beside its own in a window, as they see the same kind of scene."""

    window: Window
    terminal: str
    to: tuple[str, ...]
    distances: dict[str, Number]
    """How far the scenes of all others lay from its own, where in-domain frames lie at 1."""


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
