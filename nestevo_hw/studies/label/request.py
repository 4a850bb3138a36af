"""What is to be labelled, and by what."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nestevo_hw.base.errors import ConfigError
from nestevo_hw.models.onnx.foreign.adapter import Adapter, load_adapter


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelRequest:
    """One recording and one detector."""

    clip: Path
    """Video file or folder of images."""
    labeller: Path
    """ONNX file."""
    out: Path
    """Label file to write."""
    adapter: str = "nanodet"
    """Name or TOML file."""
    class_map: Mapping[str, str] = field(default_factory=dict)
    """In place of the adapter's."""
    stride: int = 1
    """From one labelled frame to the next."""
    score: float | None = None
    """From which on a detection becomes a label; None: as the adapter says."""
    unsure: float | None = None
    """From which on it becomes a region that teaches nothing; None: as the adapter says, and at most `score`."""
    against: Path | None = None
    """Labels that exist, to compare with."""
    confirm: bool = False
    """Have a mirrored view and enlarged parts of each frame agree with it."""
    threads: int = 1

    @property
    def work(self) -> Path:
        """Folder that keeps what has been labelled until all is."""
        return self.out.with_name(f"{self.out.name}.partial")

    def read_adapter(self) -> Adapter:
        """The adapter with what the request says otherwise.

        Raises:
            ConfigError: no such adapter, something wrong in it, or thresholds that contradict each other.
            InputError: its file cannot be read.
        """
        adapter = load_adapter(self.adapter)
        least, score = adapter.thresholds.least_score, adapter.thresholds.score if self.score is None else self.score
        unsure = min(score, adapter.thresholds.unsure) if self.unsure is None else self.unsure
        if not least <= unsure <= score:
            raise ConfigError(f"need least_score of the adapter <= --unsure <= --score, got {least:g}, {unsure:g} and "
                              f"{score:g}")  # fmt: skip
        thresholds = replace(adapter.thresholds, score=score, unsure=unsure)
        return replace(adapter, thresholds=thresholds, class_map=dict(self.class_map) or adapter.class_map)
