"""What a comparison runs: the methods, NestEvo with one part changed, and what splits the gap to true labels."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from nestevo_hw.base.documents import plain
from nestevo_hw.base.errors import ConfigError
from nestevo_hw.base.names import check_name
from nestevo_hw.evolution.config import RunConfig, override
from nestevo_hw.evolution.methods import METHODS as EVOLUTION_METHODS
from nestevo_hw.evolution.scenario import TerminalConfig

NESTEVO, A1, A2, A3, A4 = "NestEvo", "A1", "A2", "A3", "A4"
ADA_BN, TENT, SELF_TRAINING, TRUE_LABELS = "AdaBN", "Tent", "self-training", "true-labels"
NAIVE_AVERAGE, TERMINALS_ONLY, MODEL_REUSE = "naive-average", "terminals-only", "model-reuse"
DIGITAL_TEACHER, A4_CONFIRMED, ELASTIC = "digital-teacher", "A4-confirmed", "NestEvo-elastic"


def _nothing(_: RunConfig) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One way to run the same terminals on the same frames."""

    name: str
    """Also names its run folders."""
    meaning: str
    """One line, plain text."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Configuration values by dotted name that make it differ from the base."""
    derived: Callable[[RunConfig], Mapping[str, Any]] = _nothing
    """The same of values that depend on the base's."""
    ablation: bool = False
    """Whether it is NestEvo, or a baseline, with one part changed."""

    def __post_init__(self) -> None:
        check_name(self.name, "variant")

    def config(self, base: RunConfig, seed: int) -> RunConfig:
        """The configuration of one run.

        Raises:
            ConfigError: the base has no such setting, or cannot take the value.
        """
        try:
            return override(base, {**self.changes, **self.derived(base), "seed": seed})
        except KeyError as error:
            raise ConfigError(f"{self.name}: the configuration has no section {error}") from error


def _method(name: str) -> Variant:
    return Variant(name=name, meaning=EVOLUTION_METHODS[name].summary, changes={"method": name})


def _ablation(name: str, meaning: str, changes: Mapping[str, Any]) -> Variant:
    return Variant(name=name, meaning=meaning, changes={"method": NESTEVO, **changes}, ablation=True)


_A4_CONFIRMED = {"method": A4, "teacher.scene_norm": True, "labels.confirm": True}
_ADAPTERS = {"teacher.update": "adapt"}
_ALONE = {"replay.neighbours": 0}

METHODS = (
    *(_method(name) for name in (NESTEVO, A1, A2, TERMINALS_ONLY, A3, A4)),
    Variant(name=A4_CONFIRMED, meaning="A4 with NestEvo's labels: what they give without any co-evolution",
            changes=_A4_CONFIRMED),
    _method(MODEL_REUSE),
    *(_method(name) for name in (ADA_BN, TENT, SELF_TRAINING, TRUE_LABELS, NAIVE_AVERAGE)),
)  # fmt: skip
"""In the order in which tables show them."""
ABLATIONS = (
    _ablation("without-mutual-learning", "terminal and intermediate model learn from labels only",
              {"mutual.alpha": 1.0, "mutual.beta": 1.0}),
    _ablation("without-noise-training", "intermediate models are trained without weight noise (eq. 18-20)",
              {"mutual.noise_mu": 0.0}),
    _ablation("with-compression", "frames without small objects are trained on at half their size",
              {"compression.enabled": True}),
    _ablation(DIGITAL_TEACHER, "the teacher computes digitally; no crossbar", {"teacher.analog": "digital"}),
    _ablation("adapters", "digital adapters beside the teacher's cells, which are not programmed again",
              _ADAPTERS),
    _ablation("without-neighbours", "each terminal learns its own frames alone", _ALONE),
    _ablation("adapters-without-neighbours", "digital adapters, each terminal learning its own frames alone",
              {**_ADAPTERS, **_ALONE}),
    _ablation("all-neighbours", "terminals learn the frames of all others, whatever they see", {"replay.related": 1e9}),
    _ablation(ELASTIC, "terminals with paths of a supernet that take no longer than their pruned models",
              {"elastic.in_place_of_models": True}),
    _ablation("by-benefit", "the teacher adapts where it has become unsure, and is left as it is elsewhere",
              {"drift.decision": "benefit"}),
    _ablation("without-scene-norm", "the teacher labels with its own BatchNorm statistics everywhere",
              {"teacher.scene_norm": False}),
    _ablation("without-background-subtraction", "the teacher labels the frames as they came",
              {"confirmation.amplify": 1.0}),
    _ablation("without-confirmation", "the teacher's labels are used as they come", {"labels.confirm": False}),
    _ablation("A4-scene-norm", "A4, the teacher labelling with each scene's BatchNorm statistics",
              {"method": A4, "teacher.scene_norm": True}),
)  # fmt: skip
"""One part changed each; the one without the generator is A2."""


def _each(base: RunConfig, change: Callable[[TerminalConfig], Mapping[str, Any]]) -> Mapping[str, Any]:
    """A change of every terminal."""
    return {"terminals": [{**plain(terminal), **change(terminal)} for terminal in base.terminals]}


def _twice_the_frames(base: RunConfig) -> Mapping[str, Any]:
    return _each(base, lambda terminal: {"upload_frames": 2 * base.uploads(terminal.name)})


def _twice_the_steps(base: RunConfig) -> Mapping[str, Any]:
    return {"mutual.plan.steps": 2 * base.mutual.plan.steps, "distil.plan.steps": 2 * base.distil.plan.steps}


def _unpruned(base: RunConfig) -> Mapping[str, Any]:
    return _each(base, lambda _: {"model": base.teacher.model, "factory": base.model.factory})


def _of_gap(
    name: str, meaning: str, derived: Callable[[RunConfig], Mapping[str, Any]] = _nothing, method: str = TERMINALS_ONLY
) -> Variant:
    return Variant(name=name, meaning=meaning, changes={"method": method}, derived=derived, ablation=True)


GAP = (
    _of_gap("labels-completed", "terminals-only, with the objects that its labels missed", method="labels-completed"),
    _of_gap("labels-cleaned", "terminals-only, without the labels that are wrong", method="labels-cleaned"),
    _of_gap("labels-placed", "terminals-only, with right labels where their objects are", method="labels-placed"),
    _of_gap("hard-labels", "terminals-only, without soft targets", lambda _: {"distil.soft_share": 0.0}),
    _of_gap("twice-the-frames", "terminals-only, each camera uploading twice as many of the same time",
            _twice_the_frames),
    _of_gap("twice-the-steps", "terminals-only, with twice as many optimiser steps", _twice_the_steps),
    _of_gap("unpruned", "terminals-only, every terminal an unpruned copy of the teacher", _unpruned),
)  # fmt: skip
"""What splits the gap to true labels: one thing changed each against terminals-only."""
QUICK = (NESTEVO, A4, TRUE_LABELS)
"""Methods of `compare --quick`."""


def choose(methods: Iterable[str] | None, *, ablations: bool, gap: bool = False) -> tuple[Variant, ...]:
    """Variants by name, in the order of METHODS, ABLATIONS and GAP.

    Args:
        methods: names of methods, single ablations or parts of the gap; None for all methods.
        ablations: add every ablation, A2, and NestEvo and A4 to compare them with.
        gap: add every part of the gap, terminals-only to compare them with, and true labels.

    Raises:
        ConfigError: a name that does not exist, or one given twice.
    """
    named = [m.name for m in METHODS] if methods is None else list(methods)
    known = [v.name for v in (*METHODS, *ABLATIONS, *GAP)]
    for name in named:
        if name not in known:
            close = [other for other in known if other.lower() == name.lower()] or get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise ConfigError(f"unknown method {name!r}; {hint}`nestevo-hw compare --list` says which there are")
        if named.count(name) > 1:
            raise ConfigError(f"method {name!r} is named twice")
    if not named:
        raise ConfigError("name at least one method; `nestevo-hw compare --list` says which there are")
    wanted = set(named)
    if ablations:
        wanted |= {v.name for v in ABLATIONS} | {NESTEVO, A2, A4}
    if gap:
        wanted |= {v.name for v in GAP} | {TERMINALS_ONLY, TRUE_LABELS}
    return tuple(v for v in (*METHODS, *ABLATIONS, *GAP) if v.name in wanted)


def listing() -> list[dict[str, Any]]:
    """Every variant as JSON values: what it is, and what it changes in the configuration."""
    return [
        {"name": v.name, "meaning": v.meaning, "ablation": v.ablation, "changes": dict(v.changes)}
        for v in (*METHODS, *ABLATIONS, *GAP)
    ]
