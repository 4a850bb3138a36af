"""Adaptive frame sampling: terminals share an upload budget by how far their scenes have drifted (eq. 5, 4.2.1)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated

from nestevo_hw.base.errors import ConfigError, InputError
from nestevo_hw.base.ranges import FRAMES, Range


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingConfig:
    """How many frames each terminal uploads in a window."""

    budget_frames: Annotated[int, Range(1, 10_000_000)] | None = None
    """D_max: frames that all terminals upload together in a window; None: `window.upload_frames` each."""
    least_frames: Annotated[int, FRAMES] = 24
    """A terminal uploads at least as many, or its drift could not be detected."""

    def __post_init__(self) -> None:
        if self.budget_frames is not None and self.budget_frames < self.least_frames:
            raise ConfigError(
                f"sampling: need least_frames <= budget_frames, got {self.least_frames} and {self.budget_frames}"
            )


def allocate(drift: Mapping[str, float], budget: int, *, least: int, most: int) -> dict[str, int]:
    """Frames of each terminal: the least, and of what is left a share in proportion to its last segment's drift.

    What one terminal cannot use (`most`) goes to the others. Shares are exact fractions, made whole by the largest
    remainder; equal remainders go by name, so the order of the terminals does not matter.

    Args:
        drift: score of each terminal (eq. 11); negative counts as zero, and where all are zero, shares are equal.
        budget: D_max, frames of all terminals together.
        least: frames of any terminal, or `most` if that is fewer.
        most: frames of any terminal, all that its segment has.

    Returns:
        Frames by terminal; their sum is the budget, or less where all terminals have the most.

    Raises:
        ConfigError: the budget does not give every terminal the least.
        InputError: a drift score is not finite.
    """
    least = min(least, most)
    if budget < least * len(drift):
        raise ConfigError(
            f"sampling: {budget} frames do not give {len(drift)} terminals {least} each; raise budget_frames"
        )
    for name, score in drift.items():
        if not math.isfinite(score):
            raise InputError(f"sampling: the drift of terminal {name!r} is {score}; its frames or features are broken")
    room = most - least
    extra = min(budget - least * len(drift), room * len(drift))
    shares = _shares({name: Fraction(max(score, 0.0)) for name, score in drift.items()}, extra, room)
    whole = {name: math.floor(share) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: (whole[name] - shares[name], name))
    rounded_up = set(by_remainder[: extra - sum(whole.values())])
    return {name: least + whole[name] + (name in rounded_up) for name in drift}


def _shares(weights: Mapping[str, Fraction], total: int, room: int) -> dict[str, Fraction]:
    """Shares of `total` in proportion to weights; none above `room`, whose overflow goes to the others likewise."""
    shares: dict[str, Fraction] = {}
    left, waiting = Fraction(total), dict(weights)
    while waiting:
        weight = sum(waiting.values())
        fair = {name: left * own / weight if weight else left / len(waiting) for name, own in waiting.items()}
        full = [name for name, share in fair.items() if share >= room]
        if not full:
            return shares | fair
        shares |= dict.fromkeys(full, Fraction(room))
        left -= room * len(full)
        waiting = {name: own for name, own in waiting.items() if name not in shares}
    return shares


def evenly[T](items: Sequence[T], most: int) -> list[T]:
    """At most so many of the items, evenly spaced, in their order."""
    count = min(most, len(items))
    return [items[place * len(items) // count] for place in range(count)]
