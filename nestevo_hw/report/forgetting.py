"""What a terminal still knows of its earlier scenes."""

from collections.abc import Mapping


def backward_transfer(learned: Mapping[int, float], now: Mapping[int, float]) -> float | None:
    """Mean change of accuracy on earlier scenes since each was learned (Lopez-Paz and Ranzato, NeurIPS 2017).

    Args:
        learned: accuracy on the frames of each window right after it was learned.
        now: accuracy of the present model on the same frames.

    Returns:
        Below 0 where the model has forgotten; None where no window is in both.
    """
    both = [window for window in now if window in learned]
    return sum(now[w] - learned[w] for w in both) / len(both) if both else None
