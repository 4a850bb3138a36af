"""Life-cycle performance of a terminal over one evolution window (paper eq. 6-8), each part measured or modelled."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from nestevo_hw.evolution.config import LinkConfig
from nestevo_hw.evolution.teacher import LabellingTime
from nestevo_hw.scheduler.task import TaskResult

Origin = Literal["measured", "modelled"]
LABELLING = ("label", "relabel", "judge", "inspect", "label-own")
"""Kinds of tasks in which a model looks at frames."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolvingTime:
    """Parts of the time a terminal still runs its old model (paper eq. 8), seconds."""

    communication_s: float
    """Upload of frames and download of the model: modelled, from the link's bandwidth."""
    labelling_s: float
    """The teacher looks at frames. On a crossbar modelled, from the chip's published figures; else measured."""
    programming_s: float
    """Writing a teacher onto the crossbar: modelled. 0 for a digital one."""
    waiting_s: float
    """For memory, workers and others' tasks: measured, or modelled while the crossbar serves other terminals."""
    training_s: float
    """Training, merging and export: measured."""

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
    stages: Sequence[Mapping[str, TaskResult]],
    subjects: tuple[str, str],
    captured: TaskResult,
    *,
    before: float | None,
    after: float | None,
    adapted: float | None = None,
    labelling: LabellingTime | None,
    link: LinkConfig,
    window_s: float,
) -> dict[str, Any]:
    """What one evolution cost a terminal and what it was worth: the fields of a "lifecycle" event.

    Args:
        stages: results of each step by terminal or group, in order. Each step begins when the one before has ended for
            all terminals.
        subjects: the terminal's name and its group's.
        captured: of the capture; its value holds "upload_bytes", that of the export among `stages` "download_bytes".
        before: accuracy of the old model, 0 to 1; None where nothing could be scored.
        after: accuracy of the evolved one.
        adapted: accuracy of the model with new BatchNorm statistics, the outcome of the first step; None without one.
        labelling: time the crossbar takes to label; None for a digital teacher.
        link: bandwidths.
        window_s: t_total, seconds. An evolution that outlasts it leaves the old model in place all the time.
    """
    shares = [_share(stage, subjects, labelling) for stage in stages]
    download = max((r.value.get("download_bytes", 0) for stage in stages for r in _own(stage, subjects)), default=0)
    upload = captured.value["upload_bytes"]
    time = EvolvingTime(
        communication_s=8e-6 * (upload / link.upload_mbit_s + download / link.download_mbit_s),
        labelling_s=sum(s.labelling_s for s in shares),
        programming_s=sum(s.programming_s for s in shares),
        waiting_s=sum(s.waiting_s for s in shares),
        training_s=sum(s.training_s for s in shares),
    )
    meanwhile = None
    if adapted is not None:
        meanwhile = AdaptedModel(accuracy=adapted, from_s=_adapted_from_s(stages[0], subjects, upload, link))
    lcp = None
    if before is not None and after is not None:
        lcp = life_cycle_performance(before, after, min(time.total_s, window_s), window_s, meanwhile)
    return {
        "lcp": lcp,
        "window_s": window_s,
        "adapted_s": None if meanwhile is None else meanwhile.from_s,
        "evolving_s": time.total_s,
        "parts": asdict(time),
        "origins": _origins(analog=labelling is not None),
    }


def _adapted_from_s(
    stage: Mapping[str, TaskResult], subjects: tuple[str, str], upload_bytes: int, link: LinkConfig
) -> float:
    """Upload, waiting and computing of a terminal's first step, and the download of what it gave."""
    (own,) = _own(stage, subjects)
    sent_s: float = 8e-6 * (upload_bytes / link.upload_mbit_s + own.value["download_bytes"] / link.download_mbit_s)
    return sent_s + own.ended_s - min(r.submitted_s for r in stage.values())


def _origins(*, analog: bool) -> dict[str, Origin]:
    crossbar: Origin = "modelled" if analog else "measured"
    return {
        "communication_s": "modelled",
        "labelling_s": crossbar,
        "programming_s": crossbar,
        "waiting_s": "measured",
        "training_s": "measured",
    }


def _own(stage: Mapping[str, TaskResult], subjects: tuple[str, str]) -> list[TaskResult]:
    return [stage[s] for s in dict.fromkeys(subjects) if s in stage]


def _share(stage: Mapping[str, TaskResult], subjects: tuple[str, str], labelling: LabellingTime | None) -> _Share:
    """A terminal's part of one step; it waits for the step's other tasks.

    Tasks that ran on the simulated crossbar count with the chip's time, which serves one terminal after another.
    """
    own = _own(stage, subjects)
    if not own:
        return _Share()
    if labelling is not None and any("crossbar_frames" in r.value for r in stage.values()):
        label_s, program_s = _crossbar_s(own, labelling)
        return _Share(
            labelling_s=label_s,
            programming_s=program_s,
            waiting_s=sum(_crossbar_s(stage.values(), labelling)) - label_s - program_s,
        )
    ran_s = sum(r.ended_s - r.started_s for r in own)
    span_s = max(r.ended_s for r in stage.values()) - min(r.submitted_s for r in stage.values())
    looks = any(_kind(r) in LABELLING for r in own)
    return _Share(
        labelling_s=ran_s if looks else 0.0,
        training_s=0.0 if looks else ran_s,
        waiting_s=max(span_s - ran_s, 0.0),
    )


def _crossbar_s(done: Collection[TaskResult], labelling: LabellingTime) -> tuple[float, float]:
    """Labelling and programming time of tasks on the crossbar."""
    looked = sum(labelling.of(r.value.get("crossbar_frames", 0)) for r in done)
    written = sum(r.value["programming"]["time_s"] for r in done if "programming" in r.value)
    return looked, written


def _kind(result: TaskResult) -> str:
    return result.name.split("/")[1]
