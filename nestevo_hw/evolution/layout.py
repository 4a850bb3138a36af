"""Where a run keeps its files."""

from dataclasses import dataclass
from pathlib import Path

from nestevo_hw.report.samples import sample_path


def group_folder(group: str) -> str:
    """Folder of a group among those of a window's terminals."""
    return f"group-{group}"


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

    def reference(self, group: str = "") -> Path:
        """Labelled in-domain frames of the edge server."""
        return self._of_group(group, "reference.safetensors")

    def moments(self, group: str = "") -> Path:
        """The teacher's class-wise features on the in-domain frames (eq. 11)."""
        return self._of_group(group, "moments.safetensors")

    def crossbar(self, group: str = "") -> Path:
        """Tiles of the first programming."""
        return self._of_group(group, "crossbar-0.safetensors")

    @property
    def windows(self) -> Path:
        """Folder of all windows."""
        return self.root / "windows"

    def window(self, window: int, *parts: str) -> Path:
        """A file of one evolution window."""
        return self.windows.joinpath(f"{window:03d}", *parts)

    def deployed(self, window: int, terminal: str) -> Path:
        """Folder with what a terminal is sent after a window."""
        return self.window(window, terminal, "deployed")

    def inbox(self, window: int, terminal: str) -> Path:
        """Folder with what a remote terminal has sent for a window."""
        return self.window(window, terminal, "inbox")

    @property
    def path_search(self) -> Path:
        """Accuracies that the search for paths of elastic terminals has measured, one a line."""
        return self.root / "paths" / "evaluations.jsonl"

    def first_path(self, terminal: str) -> Path:
        """Checkpoint of the path that an elastic terminal begins with."""
        return self.root / "paths" / f"{terminal}.safetensors"

    def first_deployed(self, terminal: str) -> Path:
        """Folder with the model that a remote terminal begins with."""
        return self.root / "first" / terminal / "deployed"

    def of_group(self, window: int, group: str, name: str) -> Path:
        """A file of a group's teacher in one window."""
        return self.window(window, group_folder(group), name) if group else self.window(window, name)

    def _of_group(self, group: str, name: str) -> Path:
        return self.root / "groups" / group / name if group else self.root / name

    def sample(self, window: int, terminal: str, stage: str) -> Path:
        """Picture of a test frame; `stage` as in `report.samples.sample_path`."""
        return sample_path(self.root, window, terminal, stage)
