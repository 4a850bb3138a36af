"""Frames of the embedded streams, rendered in worker processes side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from nestevo_hw.base.cores import usable_cores
from nestevo_hw.scheduler.executor import DEFAULT_PRELOAD, LocalExecutor
from nestevo_hw.scheduler.knapsack import KnapsackPolicy
from nestevo_hw.scheduler.task import Task
from nestevo_hw.streams.frame import FrameBatch, Role
from nestevo_hw.streams.storage import load_frames, save_frames
from nestevo_hw.tasks.capabilities import EmbeddedStreams, require
from nestevo_hw.tasks.named import task_named

_PIXEL_S = 1e-7
"""Time to render one, measured once; all scenes of a pre-training are alike, so it decides nothing."""
_TASKS_PER_CORE = 8
"""Each opens its streams anew, which can take longer than a scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shots:
    """Frames of one embedded stream by day."""

    task: str
    place: str
    seed: int
    size: tuple[int, int]
    """(H, W), pixels."""
    indices: tuple[int, ...]
    role: Role = "terminal"

    def read(self) -> FrameBatch:
        """The frames with their truth."""
        room = require(task_named(self.task), EmbeddedStreams, "frames without data")
        stream = room.embedded_stream(name=self.place, place=self.place, seed=self.seed, size=self.size, role=self.role)
        return stream.read(self.indices)


Render = Callable[[Sequence[Shots]], list[FrameBatch]]


def one_by_one(scenes: Sequence[Shots]) -> list[FrameBatch]:
    """Rendered in this process."""
    return [shots.read() for shots in scenes]


def side_by_side(folder: Path) -> Render:
    """Rendered by a worker process a core; what is done lies in `folder`, from where a killed run goes on."""

    def render(scenes: Sequence[Shots]) -> list[FrameBatch]:
        paths = [folder / f"{shots.place}-{shots.seed}.safetensors" for shots in scenes]
        missing = [(s, path) for s, path in zip(scenes, paths, strict=True) if not path.is_file()]
        if missing:
            folder.mkdir(parents=True, exist_ok=True)
            _run(missing)
        return [load_frames(path) for path in paths]

    return render


def _run(scenes: Sequence[tuple[Shots, Path]]) -> None:
    cores, preload = usable_cores(), (*DEFAULT_PRELOAD, __name__)
    each = -(-len(scenes) // (_TASKS_PER_CORE * cores))
    tasks = [_task(scenes[first : first + each]) for first in range(0, len(scenes), each)]
    most = max(task.memory_bytes for task in tasks)
    with LocalExecutor(policy=KnapsackPolicy(), memory_bytes=cores * most, workers=cores, preload=preload) as executor:
        executor.run(tasks)


def _task(scenes: Sequence[tuple[Shots, Path]]) -> Task:
    codec = TypeAdapter(Shots)
    payload = [{"shots": codec.dump_python(shots, mode="json"), "out": str(path)} for shots, path in scenes]
    pixels = [shots.size[0] * shots.size[1] * len(shots.indices) for shots, _ in scenes]
    return Task(
        name=f"render {scenes[0][1].stem}", function=f"{__name__}:render_scenes", payload={"scenes": payload},
        memory_bytes=500_000_000 + 6 * max(pixels), duration_s=_PIXEL_S * sum(pixels),
    )  # fmt: skip


def render_scenes(payload: dict[str, Any]) -> dict[str, Any]:
    """Render each of some `Shots` into its file, in a worker."""
    for scene in payload["scenes"]:
        save_frames(TypeAdapter(Shots).validate_python(scene["shots"]).read(), Path(scene["out"]))
    return {}
