"""Which models a window is scored with: old and evolved terminal, its ONNX file, old and new teacher."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nestevo_hw.evolution.layout import RunLayout

Subject = dict[str, Any]


def subjects(
    layout: RunLayout,
    window: int,
    name: str,
    *,
    terminals: tuple[Path, Path],
    adapted: str | None = None,
    teachers: tuple[Mapping[str, Any], Mapping[str, Any] | None],
    scene_norm: bool,
) -> list[Subject]:
    """Models for the task `evaluate` of one terminal.

    Args:
        layout: of the run folder.
        window: number of the window.
        name: of the terminal.
        terminals: checkpoints before and after; equal where the terminal did not evolve.
        adapted: checkpoint that the terminal ran while it evolved, if not the one before.
        teachers: payload entries of the teacher before, and after where it evolved.
        scene_norm: whether a new teacher is scored with the scene's BatchNorm statistics, as it labels.
    """
    before, after = terminals
    found: list[Subject] = [
        {
            "model": name, "stage": "before", "runtime": "torch", "weights": str(before),
            "picture": str(layout.sample(window, name, "before")),
        },
        {"model": "teacher", "stage": "before", "runtime": "crossbar", "scene_norm": False, **teachers[0]},
    ]  # fmt: skip
    if after != before:
        own = {"model": name, "weights": str(after)}
        found += [
            {**own, "stage": "after", "runtime": "torch", "picture": str(layout.sample(window, name, "after"))},
            {**own, "stage": "onnx", "runtime": "onnx", "onnx": str(layout.window(window, name, "terminal.onnx"))},
        ]
    if adapted is not None:
        found.append({"model": name, "stage": "adapted", "runtime": "torch", "weights": adapted})
    if teachers[1] is not None:
        found.append(
            {"model": "teacher", "stage": "after", "runtime": "crossbar", "scene_norm": scene_norm, **teachers[1]}
        )
    return found
