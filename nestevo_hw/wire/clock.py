"""Time that is remembered over restarts, by a clock that somebody may set."""


def is_over(wait_s: float, since_s: float, now_s: float) -> bool:
    """Whether so long has passed; a clock that was put back meanwhile makes nobody wait until it is there again.

    Args:
        wait_s: how long, seconds.
        since_s: from when on, by the clock.
        now_s: what the clock says.
    """
    return not 0.0 <= now_s - since_s < wait_s
