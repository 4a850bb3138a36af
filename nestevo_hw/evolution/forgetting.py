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


def forgetting(history: Mapping[int, Mapping[int, float]], now: Mapping[int, float]) -> float | None:
    """Mean loss on earlier scenes against the best the terminal ever had on each (Chaudhry et al., ECCV 2018).

    Args:
        history: accuracies on the frames of each window, by the window after which they were measured.
        now: accuracy of the present model on the frames of each window.
    """
    both = [window for window in now if history.get(window)]
    return sum(max(history[w].values()) - now[w] for w in both) / len(both) if both else None
