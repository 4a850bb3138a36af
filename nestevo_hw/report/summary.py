"""What a run came to: the document of `nestevo-hw evolve`, from its events alone."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

from nestevo_hw.base.documents import parse
from nestevo_hw.base.stats import mean, or_none, total
from nestevo_hw.pages.formats import number
from nestevo_hw.pages.parts import origin_of
from nestevo_hw.report.events import Run, terminal_configs
from nestevo_hw.report.forgetting import backward_transfer
from nestevo_hw.report.records.fields import Number
from nestevo_hw.report.records.teacher import Deploy, Program, Refresh
from nestevo_hw.report.records.terminal import TEACHER, Accuracy, Candidate, Elastic, Lifecycle, Rollback, Select
from nestevo_hw.report.records.work import Failure, TaskRun

STAGES = ("before", "adapted", "after", "onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Evolution:
    """Accuracy of one model around one evolution, by one metric; NaN where not measured."""

    window: int
    before: float
    adapted: float
    after: float
    onnx: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """Mean accuracies of one model by one metric; NaN where not measured."""

    before: Number = math.nan
    after: Number = math.nan


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSummary:
    """Mean accuracies of one terminal's model, or of the teacher; NaN where not measured."""

    name: str = TEACHER
    pruning: str | None = None
    """How the model was pruned, or which it is."""
    before: Number = math.nan
    adapted: Number = math.nan
    """Of the same model with its BatchNorm adapted and nothing else."""
    after: Number = math.nan
    onnx_off: Number = math.nan
    """The largest difference of a deployed model's score in ONNX Runtime to that in PyTorch."""
    lcp: Number = math.nan
    given: dict[Candidate, int] = field(default_factory=dict)
    """How often a terminal was given its evolved model, the BatchNorm-adapted one, or kept the old one."""
    rolled_back: int = 0
    """How often a remote terminal went back to an earlier model."""
    metrics: dict[str, Levels] = field(default_factory=dict)
    """By every metric of the task."""

    @property
    def gain(self) -> float | None:
        """Relative gain; None where it is not defined."""
        return relative_gain(self.before, self.after)

    @property
    def improved(self) -> bool:
        """Whether it is better than the old model, and than that with nothing but its BatchNorm adapted."""
        return self.after > self.before and not self.after <= self.adapted

    @property
    def gain_over_adapted(self) -> float | None:
        """Relative gain over BatchNorm adaptation alone; None where it is not defined."""
        return relative_gain(self.adapted, self.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """Evolution delay: mean over terminals and windows, and where each of its parts comes from."""

    mean: Number = math.nan
    origins: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The summary document of a run, typed."""

    metric: str = "score"
    second_metric: tuple[str, str] = ("", "")
    """Key among a model's metrics, and name, of the stricter score beside it."""
    terminals: tuple[ModelSummary, ...] = ()
    teacher: ModelSummary = ModelSummary()
    new_teachers: dict[str, int] = field(default_factory=dict)
    """How many of them the validation gate accepted and rejected."""
    delay_s: Delay = Delay()
    backward_transfer: Number = math.nan
    """Mean change of the terminals' accuracy on earlier scenes since these were learned."""
    wall_s: Number = math.nan

    @property
    def evolved(self) -> tuple[ModelSummary, ...]:
        """Terminals with an accuracy before and after."""
        return tuple(t for t in self.terminals if math.isfinite(t.before) and math.isfinite(t.after))

    @property
    def together(self) -> ModelSummary:
        """Means over the terminals that evolved; over all of them where none has."""
        shown = self.evolved or self.terminals
        names = dict.fromkeys(metric for t in shown for metric in t.metrics)
        return ModelSummary(
            name="terminals, mean",
            before=mean(t.before for t in shown),
            adapted=mean(t.adapted for t in shown),
            after=mean(t.after for t in shown),
            onnx_off=_furthest(t.onnx_off for t in shown),
            lcp=mean(t.lcp for t in shown),
            given=dict(sum((Counter(t.given) for t in shown), Counter())),
            rolled_back=sum(t.rolled_back for t in shown),
            metrics={
                metric: Levels(
                    before=mean(t.metrics[metric].before for t in shown if metric in t.metrics),
                    after=mean(t.metrics[metric].after for t in shown if metric in t.metrics),
                )
                for metric in names
            },
        )

    def second(self, model: ModelSummary) -> Levels:
        """A model by the second metric."""
        return model.metrics.get(self.second_metric[0], Levels())


def evolutions(run: Run, model: str, scene: str | None = None, *, metric: str | None = None) -> list[Evolution]:
    """Each window's accuracy of `model`, before and after.

    Args:
        run: the run.
        model: a terminal's name or TEACHER.
        scene: terminal whose frames to score on; None for the mean over all scenes: of a window in which a model
            evolved for some of them only, as each group has a teacher of its own, over these.
        metric: by which; None for the headline.
    """
    scores: dict[int, dict[str, dict[str, float]]] = {}
    for event in run.of(Accuracy):
        if event.model == model and scene in (None, event.scene):
            value = event.score if metric is None else event.metrics.get(metric, math.nan)
            scores.setdefault(event.window, {}).setdefault(event.scene, {})[event.stage] = value
    found = []
    for window, by_scene in sorted(scores.items()):
        evolved = [stages for stages in by_scene.values() if math.isfinite(stages.get("after", math.nan))]
        counted = evolved or list(by_scene.values())
        levels = {stage: mean(stages[stage] for stages in counted if stage in stages) for stage in STAGES}
        found.append(Evolution(window=window, **levels))
    return found


def part_origins(run: Run) -> dict[str, str]:
    """Where each part of the evolution delay comes from; a part that took no time anywhere is left out.

    Returns:
        By part: measured, modelled, partly modelled where it is not the same everywhere, or "" where no event says.
    """
    told: dict[str, list[str]] = {}
    for life in run.of(Lifecycle):
        for part, seconds in life.parts.items():
            if seconds:
                told.setdefault(part, []).append(life.origins.get(part, ""))
    return {part: origin_of(origins) for part, origins in told.items()}


def summarise(run: Run) -> dict[str, Any]:
    """The summary document: the run's own where it is complete, else the same from the events so far.

    Before and after are means over the windows in which the model evolved. Of a model that never evolved,
    before is the mean over all windows and after is null.
    """
    if run.header.summary is not None:
        return run.header.summary
    terminals = [_terminal(run, name) for name in run.terminals]
    together = read_summary({"terminals": terminals}).together
    teacher = _before_after(evolutions(run, TEACHER))
    lives = run.of(Lifecycle)
    parts: dict[str, list[float]] = {}
    for life in lives:
        for name, seconds in life.parts.items():
            parts.setdefault(name, []).append(seconds)
    return {
        "run_dir": str(run.directory),
        "device": run.header.machine.get("device"),
        "metric": run.header.metric,
        "second_metric": list(run.header.second_metric),
        "windows": run.windows,
        "terminals": terminals,
        "teacher": teacher,
        "gain": {
            "terminals_relative": together.gain,
            "terminals_over_adapted": together.gain_over_adapted,
            "teacher_relative": relative_gain(number(teacher["before"]), number(teacher["after"])),
        },
        "delay_s": {
            "mean": or_none(mean(life.evolving_s for life in lives)),
            "parts": {name: or_none(mean(values)) for name, values in parts.items()},
            "origins": part_origins(run),
        },
        "backward_transfer": or_none(backward_transfer(run)),
        "new_teachers": {
            word: sum(d.accepted == accepted for d in run.of(Deploy))
            for word, accepted in (("accepted", True), ("rejected", False))
        },
        "programming": _programming(run),
        "failures": len(run.of(Failure)),
        "wall_s": or_none(max((t.ended_s for t in run.of(TaskRun) if math.isfinite(t.ended_s)), default=math.nan)),
    }


def read_summary(document: Mapping[str, Any]) -> Summary:
    """A summary document, as typed values.

    Raises:
        InputError: it is none.
    """
    return parse(document, Summary, "summary of the run")


def summary_of(run: Run) -> Summary:
    """What a run came to, complete or so far."""
    return read_summary(summarise(run))


def pruning_of(run: Run, name: str) -> str | None:
    """How a terminal's model was pruned (M1, M2, M3), or which model or path it is; None where nobody says."""
    searched = [e for e in run.of(Elastic) if (e.stage, e.terminal) == ("search", name)]
    if searched:
        return f"path within {100 * searched[0].budget:.0f} %"
    for terminal in terminal_configs(run.header.config):
        if terminal["name"] == name:
            found = terminal.get("pruning") or terminal.get("model")
            return None if found is None else PurePath(str(found)).stem
    return None


def relative_gain(before: float, after: float) -> float | None:
    """Relative gain, after / before - 1; None where it is not defined."""
    return after / before - 1 if before > 0 and math.isfinite(after) else None


def section(document: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The object under `key`; empty where there is none."""
    found = document.get(key)
    return found if isinstance(found, dict) else {}


def _terminal(run: Run, name: str) -> dict[str, Any]:
    lives = [life.lcp for life in run.of(Lifecycle) if life.terminal == name]
    own = evolutions(run, name, scene=name)
    return {
        "name": name,
        "pruning": pruning_of(run, name),
        **_before_after(own),
        "adapted": or_none(mean(e.adapted for e in _evolved(own))),
        "metrics": {
            metric: _before_after(evolutions(run, name, scene=name, metric=metric)) for metric in _metrics(run, name)
        },
        "onnx_off": or_none(_furthest(e.onnx - e.after for e in own)),
        "lcp": or_none(mean(lives)),
        "given": dict(Counter(s.chosen for s in run.of(Select) if s.terminal == name)),
        "rolled_back": sum(r.terminal == name for r in run.of(Rollback)),
    }


def _programming(run: Run) -> dict[str, Any]:
    """What writing the teacher came to; time, energy and wear are modelled."""
    programmed = run.of(Program)
    return {
        "count": len(programmed),
        "refreshes": sum(r.refreshed for r in run.of(Refresh)),
        **{name: or_none(total(getattr(p, name) for p in programmed)) for name in ("time_s", "energy_j", "wear")},
        "differences": list(dict.fromkeys(line for p in programmed for line in p.differences)),
    }


def _furthest(differences: Iterable[float]) -> float:
    """The one furthest from 0; NaN without any that is known."""
    return max((d for d in differences if math.isfinite(d)), key=abs, default=math.nan)


def _metrics(run: Run, model: str) -> list[str]:
    return list(dict.fromkeys(metric for a in run.of(Accuracy) if a.model == model for metric in a.metrics))


def _evolved(measured: list[Evolution]) -> list[Evolution]:
    """Those in which the model evolved; all of them where it never did."""
    return [e for e in measured if math.isfinite(e.after)] or measured


def _before_after(measured: list[Evolution]) -> dict[str, float | None]:
    evolved = _evolved(measured)
    return {
        "before": or_none(mean(e.before for e in evolved)),
        "after": or_none(mean(e.after for e in evolved)),
    }
