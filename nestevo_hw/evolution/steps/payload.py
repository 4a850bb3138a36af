"""What every step finds in its payload."""

import math
from typing import Any

from nestevo_hw.evolution.config import RunConfig, parse_config
from nestevo_hw.evolution.teacher import DIGITAL
from nestevo_hw.tasks.named import task_named
from nestevo_hw.tasks.task import VisionTask

Payload = dict[str, Any]
Result = dict[str, Any]


def opened(payload: Payload) -> tuple[RunConfig, VisionTask]:
    """The run's configuration and its task."""
    config = parse_config(payload["config"], source="task payload")
    return config, task_named(config.task)


def or_null(value: float) -> float | None:
    """A number for JSON: null where it is not defined."""
    return None if math.isnan(value) else value


def on_crossbar(config: RunConfig, frames: int) -> Result:
    """How many frames a step sent through the crossbar; nothing for a digital teacher."""
    return {} if config.teacher.device == DIGITAL else {"crossbar_frames": frames}


def class_counts(documents: list[dict[str, int]]) -> list[dict[int, int]]:
    """Label counts with classes as numbers again."""
    return [{int(c): n for c, n in one.items()} for one in documents]
