"""What a plan may lose, where the scored frames can tell so little."""

import math

USUAL_TARGET = 0.01
"""Score that a plan may lose where nothing was asked for and the frames are enough."""


def target_loss(asked: float | None, frame_worth: float) -> float:
    """Score that a plan may lose: as asked, else the usual, or what one frame is worth where that is more."""
    return max(USUAL_TARGET, frame_worth) if asked is None else asked


def resolution_note(target: float, frame_worth: float, frames: int) -> str:
    """For people to read: how the target stands to what the frames can tell; "" where they can tell it.

    Args:
        target: score that the plan may lose.
        frame_worth: about the score that one frame is worth.
        frames: scored, of each scene.
    """
    if target < frame_worth:
        enough = f"--frames {math.ceil(1.0 / target)} or more, or " if target else ""
        return (
            f"one of {frames} frames is worth {frame_worth:.4f}, more than the target of {target:g}, so a plan keeps "
            f"more layers digital than need be; give {enough}a larger --target-loss"
        )
    if target == frame_worth:
        return f"target {target:.4f}: what one of {frames} frames is worth; with more --frames it is {USUAL_TARGET:g}"
    return ""
