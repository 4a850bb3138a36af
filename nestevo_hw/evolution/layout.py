"""Where a run keeps its files."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunLayout:
    """Paths below a run folder; nothing is created here."""

    root: Path

    @property
    def run_json(self) -> Path:
        """Configuration, versions, seed, machine and, at the end, the summary."""
        return self.root / "run.json"

    @property
    def metrics(self) -> Path:
        """One JSON event a line."""
        return self.root / "metrics.jsonl"

    @property
    def results(self) -> Path:
        """Results of finished tasks, one file each: what --resume starts from."""
        return self.root / "results"

    @property
    def reference(self) -> Path:
        """Labelled in-domain frames of the edge server."""
        return self.root / "reference.safetensors"

    @property
    def moments(self) -> Path:
        """The teacher's class-wise features on the in-domain frames (eq. 11)."""
        return self.root / "moments.safetensors"

    def window(self, window: int, *parts: str) -> Path:
        """A file of one evolution window."""
        return self.root.joinpath("windows", f"{window:03d}", *parts)

    def sample(self, window: int, terminal: str, stage: str) -> Path:
        """Picture of a test frame with detections, before or after the evolution."""
        return self.root / "samples" / f"w{window}-{terminal}-{stage}.png"
