"""Life-cycle performance of a terminal over one evolution window (paper eq. 6-8)."""

from dataclasses import dataclass


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
