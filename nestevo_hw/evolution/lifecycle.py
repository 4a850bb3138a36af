"""Life-cycle performance of a terminal over one evolution window (paper eq. 6-8), each part measured or modelled."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from nestevo_hw.evolution.dispatch import Finished, Stage
from nestevo_hw.evolution.scenario import LinkConfig
from nestevo_hw.evolution.steps.step import Result
from nestevo_hw.evolution.teacher import LabellingTime
from nestevo_hw.report.records.terminal import Lifecycle

Origin = Literal["measured", "modelled", "partly modelled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolvingTime:
    """Parts of the time a terminal still runs its old model (paper eq. 8), seconds."""

    communication_s: float
    """Upload of frames and download of the model: modelled, from the link's bandwidth."""
    labelling_s: float
    """The teacher labels frames. On a crossbar modelled, from the chip's published figures, without the digital
    work that confirms its labels (background subtraction, ensemble, fusion); else measured, with all of it."""
    programming_s: float
    """Writing a teacher onto the crossbar: modelled. 0 for a digital one."""
    waiting_s: float
    """For memory, workers and others' tasks: measured, or modelled while the crossbar serves other terminals."""
    training_s: float
    """Training and export: measured, that of adapters with the crossbar's simulation in it, so at most as much. Merging
    too, with a digital teacher only."""

    @property
    def total_s(self) -> float:
        """t_c + t_w + t_r."""
        return self.communication_s + self.labelling_s + self.programming_s + self.waiting_s + self.training_s


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """What one step of the loop took of a terminal's time, seconds."""

    labelling_s: float = 0.0
    programming_s: float = 0.0
    training_s: float = 0.0
    waiting_s: float = 0.0

    @property
    def busy_s(self) -> float:
        """Without waiting."""
        return self.labelling_s + self.programming_s + self.training_s


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptedModel:
    """A model that a terminal runs from some moment of its evolution on, until that ends."""

    accuracy: float
    """0 to 1."""
    from_s: float
    """When it is in force, seconds after the request."""


def life_cycle_performance(
    before: float, after: float, evolving_s: float, window_s: float, adapted: AdaptedModel | None = None
) -> float:
    """Mean accuracy of a terminal over one evolution window (paper eq. 6, which knows no model in between).

    Args:
        before: accuracy of the old model, 0 to 1.
        after: accuracy of the evolved model, 0 to 1.
        evolving_s: communication + labelling + programming + waiting + training, seconds.
        window_s: time between two evolution requests, seconds.
        adapted: what the terminal runs meanwhile, if not the old model all the time.

    Raises:
        ValueError: the evolution outlasts its window.
    """
    if not 0.0 <= evolving_s <= window_s:
        raise ValueError(f"evolving takes {evolving_s:.1f} s, which is not within the window of {window_s:.1f} s")
    won = 0.0 if adapted is None else (adapted.accuracy - before) * max(evolving_s - adapted.from_s, 0.0)
    return (before * evolving_s + won + after * (window_s - evolving_s)) / window_s


def account(
    terminal: str,
    group_of: Mapping[str, str],
    stages: Sequence[Sequence[Stage]],
    *,
    window: int,
    window_s: float,
    upload_bytes: int,
    link: LinkConfig,
    labelling: LabellingTime | None,
    scores: Mapping[str, float],
    adaptation: Stage | None,
) -> Lifecycle:
    """What one evolution cost a terminal, and what it was worth.

    Args:
        terminal: its name.
        group_of: names of the groups of all terminals; each has a crossbar of its own.
        stages: steps that the window's terminals have waited for, those together that ran side by side. Each begins
            when the one before has ended for all.
        window: its number.
        window_s: t_total, seconds. An evolution that outlasts it leaves the old model in place all the time.
        upload_bytes: frames sent.
        link: bandwidths.
        labelling: time the crossbar takes to label; None for a digital teacher.
        scores: accuracy of the terminal by stage ("before", "adapted", "after"), where it could be scored.
        adaptation: the one of them that adapts the terminals' BatchNorm; None where there was none.
    """
    own = [[_own(stage, terminal, group_of[terminal]) for stage in together] for together in stages]
    shares = [
        share
        for together, mine in zip(stages, own, strict=True)
        for share in _shares(together, mine, labelling, group_of)
    ]
    download = max((one.value.download_bytes for mine in own for one in mine if one is not None), default=0)
    time = EvolvingTime(
        communication_s=_sent_s(upload_bytes, download, link),
        labelling_s=sum(s.labelling_s for s in shares),
        programming_s=sum(s.programming_s for s in shares),
        waiting_s=sum(s.waiting_s for s in shares),
        training_s=sum(s.training_s for s in shares),
    )
    before, after, meanwhile = scores.get("before"), scores.get("after"), None
    if adaptation is not None and terminal in adaptation.done and "adapted" in scores:
        ready_s = _adapted_from_s(adaptation, terminal, upload_bytes, link)
        meanwhile = AdaptedModel(accuracy=scores["adapted"], from_s=ready_s)
    lcp = math.nan
    if before is not None and after is not None:
        lcp = life_cycle_performance(before, after, min(time.total_s, window_s), window_s, meanwhile)
    return Lifecycle(
        window=window,
        terminal=terminal,
        lcp=lcp,
        window_s=window_s,
        adapted_s=math.nan if meanwhile is None else meanwhile.from_s,
        evolving_s=time.total_s,
        parts=asdict(time),
        origins=dict(_origins(analog=labelling is not None)),
    )


def _adapted_from_s(adaptation: Stage, terminal: str, upload_bytes: int, link: LinkConfig) -> float:
    """Upload, waiting and computing of a terminal's BatchNorm adaptation, and the download of what it gave."""
    own = adaptation.done[terminal]
    first_s = min(f.submitted_s for f in adaptation.done.values())
    return _sent_s(upload_bytes, own.value.download_bytes, link) + own.ended_s - first_s


def _sent_s(upload_bytes: int, download_bytes: int, link: LinkConfig) -> float:
    return 8e-6 * (upload_bytes / link.upload_mbit_s + download_bytes / link.download_mbit_s)


def _origins(*, analog: bool) -> dict[str, Origin]:
    crossbar: Origin = "modelled" if analog else "measured"
    return {
        "communication_s": "modelled",
        "labelling_s": crossbar,
        "programming_s": crossbar,
        "waiting_s": "partly modelled" if analog else "measured",
        "training_s": "measured",
    }


def _own(stage: Stage, terminal: str, group: str) -> Finished[Result] | None:
    """A terminal's task of a step, or its group's."""
    return stage.done.get(terminal if stage.step.per == "terminal" else group)


def _shares(
    together: Sequence[Stage],
    own: Sequence[Finished[Result] | None],
    labelling: LabellingTime | None,
    group_of: Mapping[str, str],
) -> Iterator[_Share]:
    """A terminal's part of steps that ran side by side; it waits for all their other tasks.

    Tasks that ran on a simulated crossbar count with the chip's time, which serves one terminal of a group after
    another.
    """
    every: list[Finished[Result]] = []
    trainings: list[Finished[Result]] = []
    labels: list[Finished[Result]] = []
    for stage, mine in zip(together, own, strict=True):
        if labelling is not None and any(f.value.crossbar_frames is not None for f in stage.done.values()):
            if mine is not None:
                yield _on_crossbar(stage, mine, labelling, group_of)
            continue
        every += stage.done.values()
        if mine is not None:
            (labels if stage.step.part == "labelling" else trainings).append(mine)
    if not (labels or trainings):
        return
    span_s = max(f.ended_s for f in every) - min(f.submitted_s for f in every)
    labelling_s, busy_s = _covered_s(labels), _covered_s([*labels, *trainings])
    yield _Share(labelling_s=labelling_s, training_s=busy_s - labelling_s, waiting_s=max(span_s - busy_s, 0.0))


def _on_crossbar(stage: Stage, own: Finished[Result], labelling: LabellingTime, group_of: Mapping[str, str]) -> _Share:
    taken_s: dict[str, float] = {}
    for name, task in stage.done.items():
        group = group_of[name] if stage.step.per == "terminal" else name
        taken_s[group] = taken_s.get(group, 0.0) + _taken(task, labelling).busy_s
    mine = _taken(own, labelling)
    return replace(mine, waiting_s=max(taken_s.values()) - mine.busy_s)


def _taken(task: Finished[Result], labelling: LabellingTime) -> _Share:
    """By a task on the crossbar."""
    result = task.value
    return _Share(
        labelling_s=labelling.of(result.crossbar_frames or 0),
        programming_s=0.0 if result.programming is None else result.programming.time_s,
        training_s=result.beside_s,
    )


def _covered_s(tasks: Collection[Finished[Result]]) -> float:
    """How long at least one of them was at work, seconds."""
    covered_s, until_s = 0.0, -math.inf
    for task in sorted(tasks, key=lambda task: task.started_s):
        covered_s += max(task.ended_s - max(task.started_s, until_s), 0.0)
        until_s = max(until_s, task.ended_s)
    return covered_s
