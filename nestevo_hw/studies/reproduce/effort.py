"""How much of each experiment is run: in full, or an impression of it."""

from dataclasses import dataclass

from nestevo_hw.evolution.config import RunConfig, load_preset, override


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """Sizes of all experiments."""

    quick: bool
    seeds: int
    """By default."""
    uploaded: int
    """Frames of a camera that a model learns from."""
    tested: int
    """Later ones that it is scored on."""
    steps: int
    """Of a distillation."""
    times: int
    """Points in time of table 3."""
    thresholds: tuple[float, ...]
    """Values of gamma in figure 11, rising."""
    windows: int
    """Of figure 11."""
    passes: int
    """Over the frames in table 5."""
    draws: int
    """Of weight noise in figure 15."""

    def comparison(self, workers: int | None) -> RunConfig:
        """What table 4 compares methods on: the embedded default, or an impression of it."""
        config = override(load_preset("quick"), {"execution.workers": workers})
        if not self.quick:
            return config
        return override(config, {
            "window.count": 1, "window.upload_frames": self.uploaded, "window.test_frames": self.tested,
            "teacher.tile": 128, "reference.places": ["campus", "village", "downtown", "park", "school"],
            "reference.segments_per_place": 1, "reference.frames_per_segment": 4, "drift.gamma": 0.0,
            "drift.min_samples": 1, "generator.steps": 50, "mutual.plan.steps": 10, "distil.plan.steps": self.steps,
        })  # fmt: skip


FULL = Effort(
    quick=False, seeds=3, uploaded=96, tested=60, steps=80, times=3, thresholds=(0.0, 30.0, 40.0, 50.0, 1e6), windows=6,
    passes=2, draws=5,
)  # fmt: skip
QUICK = Effort(
    quick=True, seeds=1, uploaded=24, tested=20, steps=12, times=1, thresholds=(0.0, 40.0, 1e6), windows=2, passes=1,
    draws=2,
)  # fmt: skip
