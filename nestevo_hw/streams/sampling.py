"""Adaptive frame sampling: terminals share an upload budget by how far their scenes have drifted (eq. 5, 4.2.1)."""

from collections.abc import Mapping
from dataclasses import dataclass

from nestevo_hw.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingConfig:
    """How many frames each terminal uploads in a window."""

    budget_frames: int | None = None
    """D_max: frames that all terminals upload together in a window; None: `window.upload_frames` each."""
    least_frames: int = 24
    """A terminal uploads at least as many, or its drift could not be judged."""

    def __post_init__(self) -> None:
        if self.least_frames < 1 or (self.budget_frames is not None and self.budget_frames < self.least_frames):
            raise ConfigError(
                f"sampling: need 1 <= least_frames <= budget_frames, got {self.least_frames} and {self.budget_frames}"
            )


def allocate(drift: Mapping[str, float], budget: int, *, least: int, most: int) -> dict[str, int]:
    """Frames of each terminal, in proportion to the drift of its last segment.

    Whole frames go by the largest remainder; what one terminal cannot use (`most`) goes to the others.

    Args:
        drift: score of each terminal (eq. 11); equal where nothing is known yet.
        budget: D_max, frames of all terminals together.
        least: frames of any terminal.
        most: frames of any terminal, all that its segment has.

    Returns:
        Frames by terminal; their sum is at most `budget`.

    Raises:
        ConfigError: the budget does not give every terminal the least.
    """
    if budget < least * len(drift):
        raise ConfigError(
            f"sampling: {budget} frames do not give {len(drift)} terminals {least} each; raise budget_frames"
        )
    frames = dict.fromkeys(drift, min(least, most))
    while (left := budget - sum(frames.values())) > 0:
        open_ = [name for name in drift if frames[name] < most]
        if not open_:
            break
        weights = {name: max(drift[name], 0.0) for name in open_}
        total = sum(weights.values())
        shares = {name: left * (weights[name] / total if total > 0 else 1 / len(open_)) for name in open_}
        whole = {name: min(int(shares[name]), most - frames[name]) for name in open_}
        if not any(whole.values()):
            for name in sorted(open_, key=lambda n: (-(shares[n] % 1), n))[:left]:
                frames[name] += 1
            continue
        for name, count in whole.items():
            frames[name] += count
    return frames
