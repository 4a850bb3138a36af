"""Frames of the embedded streams, rendered in worker processes side by side."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from nestevo_hw.scheduler.executor import DEFAULT_PRELOAD, LocalExecutor
from nestevo_hw.scheduler.knapsack import KnapsackPolicy
from nestevo_hw.scheduler.task import Task
from nestevo_hw.streams.frame import FrameBatch, Role
from nestevo_hw.streams.storage import load_frames, save_frames
from nestevo_hw.tasks.capabilities import EmbeddedStreams, require
from nestevo_hw.tasks.named import task_named

_PIXEL_S = 1e-7
"""Time to render one, measured once; all scenes of a pre-training are alike, so it decides nothing."""


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
        tasks = [_task(s, path) for s, path in zip(scenes, paths, strict=True) if not path.is_file()]
        if tasks:
            folder.mkdir(parents=True, exist_ok=True)
            _run(tasks)
        return [load_frames(path) for path in paths]

    return render


def _run(tasks: list[Task]) -> None:
    cores, preload = os.cpu_count() or 1, (*DEFAULT_PRELOAD, __name__)
    most = max(task.memory_bytes for task in tasks)
    with LocalExecutor(policy=KnapsackPolicy(), memory_bytes=cores * most, workers=cores, preload=preload) as executor:
        executor.run(tasks)


def _task(shots: Shots, path: Path) -> Task:
    payload = {"shots": TypeAdapter(Shots).dump_python(shots, mode="json"), "out": str(path)}
    pixels = shots.size[0] * shots.size[1]
    return Task(
        name=f"render {path.stem}", function=f"{__name__}:render_shots", payload=payload,
        memory_bytes=500_000_000 + 6 * pixels * len(shots.indices), duration_s=_PIXEL_S * pixels * len(shots.indices),
    )  # fmt: skip


def render_shots(payload: dict[str, Any]) -> dict[str, Any]:
    """Render `Shots` into a file, in a worker."""
    save_frames(TypeAdapter(Shots).validate_python(payload["shots"]).read(), Path(payload["out"]))
    return {}
