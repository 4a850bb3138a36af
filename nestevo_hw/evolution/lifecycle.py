"""Life-cycle performance of a terminal over one evolution window (paper eq. 6-8)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from nestevo_hw.config import LinkConfig
from nestevo_hw.scheduler.task import TaskResult


@dataclass(frozen=True, slots=True, kw_only=True)
class EvolvingTime:
    """Parts of the time a terminal still runs its old model (paper eq. 8), seconds."""

    communication_s: float
    """Upload of frames and download of the model, modelled from the link's bandwidth."""
    waiting_s: float
    """In the queue for memory and workers, measured."""
    training_s: float
    """From labelling to export, measured."""

    @property
    def total_s(self) -> float:
        """t_c + t_w + t_r."""
        return self.communication_s + self.waiting_s + self.training_s


def life_cycle_performance(before: float, after: float, evolving_s: float, window_s: float) -> float:
    """Mean accuracy of a terminal over one evolution window (paper eq. 6).

    Args:
        before: accuracy of the old model, 0 to 1.
        after: accuracy of the evolved model, 0 to 1.
        evolving_s: communication + waiting + training, seconds.
        window_s: time between two evolution requests, seconds.

    Raises:
        ValueError: the evolution outlasts its window.
    """
    if not 0.0 <= evolving_s <= window_s:
        raise ValueError(f"evolving takes {evolving_s:.1f} s, which is not within the window of {window_s:.1f} s")
    return (before * evolving_s + after * (window_s - evolving_s)) / window_s


def account(
    own: Sequence[TaskResult],
    captured: TaskResult,
    before: float | None,
    after: float | None,
    link: LinkConfig,
    window_s: float,
) -> dict[str, Any]:
    """What one evolution cost a terminal and what it was worth: the fields of a "lifecycle" event.

    Args:
        own: tasks the terminal waited for, from labelling to export, those that serve all terminals included.
        captured: of the capture; its value holds "upload_bytes", that of the export among `own` "download_bytes".
        before: accuracy of the old model, 0 to 1; None where nothing could be scored.
        after: accuracy of the evolved one.
        link: bandwidths.
        window_s: t_total, seconds. An evolution that outlasts it leaves the old model in place all the time.
    """
    training_s = sum(r.ended_s - r.started_s for r in own)
    span_s = max(r.ended_s for r in own) - min(r.submitted_s for r in own)
    download = next(r.value["download_bytes"] for r in own if "download_bytes" in r.value)
    upload = captured.value["upload_bytes"]
    time = EvolvingTime(
        communication_s=8e-6 * (upload / link.upload_mbit_s + download / link.download_mbit_s),
        waiting_s=max(span_s - training_s, 0.0),
        training_s=training_s,
    )
    lcp = None
    if before is not None and after is not None:
        lcp = life_cycle_performance(before, after, min(time.total_s, window_s), window_s)
    return {
        "lcp": lcp,
        "window_s": window_s,
        "evolving_s": time.total_s,
        "parts": asdict(time),
    }
